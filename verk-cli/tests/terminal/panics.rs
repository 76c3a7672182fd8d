//! A program that has a clock with a bug, for `script/terminal`: once the file `$release` exists,
//! the clock panics where `$PANIC` says. `top` must put the terminal back.

use std::{
    env,
    path::Path,
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Instant, SystemTime},
};

use verk_core::{
    Verk,
    time::{Clock, SystemClock},
};
use verk_redis::{RedisBuilderExt, RedisConfig};

#[derive(Debug)]
struct BuggyClock;

impl Clock for BuggyClock {
    fn now(&self) -> SystemTime {
        SystemClock.now()
    }

    fn instant(&self) -> Instant {
        if env::var_os("release").is_some_and(|file| Path::new(&file).exists()) {
            match env::var("PANIC").as_deref() {
                Ok("thread") => {
                    let panicked = thread::spawn(|| panic!("a clock with a bug")).join();
                    drop(panicked);
                }
                _ => panic!("a clock with a bug"),
            }
        }
        SystemClock.instant()
    }

    fn sleep_until(&self, deadline: Instant) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        SystemClock.sleep_until(deadline)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let url = env::var("VERK_REDIS_URL").unwrap_or_default();
    let builder = Verk::builder()
        .clock(Arc::new(BuggyClock))
        .redis(RedisConfig::new(url));
    verk_cli::run(builder).await
}
