//! How do probes ask for the health of my node? An HTTP server of your own, with `/live` and
//! `/ready`.
//!
//! ```text
//! REDIS_URL=redis://127.0.0.1:6379 cargo run --example health
//! curl -i http://127.0.0.1:8080/ready
//! ```
//!
//! In a program with a web framework these are two routes; this example has as little HTTP as a
//! probe needs. Set `HEALTH_ADDR` to listen at another address.

use std::{env, error::Error, io};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use verk::{prelude::*, redis::RedisConfig};

#[verk::worker]
async fn greet(name: String) {
    println!("hello {name}");
}

/// The status and the body for a path.
fn answer(verk: &Verk, path: &str) -> (&'static str, String) {
    let health = verk.health();
    let well = match path {
        "/live" => health.live,
        "/ready" => health.ready,
        _ => return ("404 Not Found", String::new()),
    };
    let status = if well {
        "200 OK"
    } else {
        "503 Service Unavailable"
    };
    // A struct of texts and numbers always has a JSON form.
    (status, serde_json::to_string(&health).unwrap_or_default())
}

async fn reply(verk: &Verk, stream: TcpStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    stream.read_line(&mut request).await?;
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, body) = answer(verk, path);
    let mut header = String::new();
    while stream.read_line(&mut header).await? > 2 {
        header.clear();
    }
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all((head + &body).as_bytes()).await?;
    stream.shutdown().await
}

async fn serve(verk: Verk, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let verk = verk.clone();
        tokio::spawn(async move {
            if let Err(error) = reply(&verk, stream).await {
                eprintln!("a probe went away: {error}");
            }
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let verk = Verk::builder()
        .redis(RedisConfig::from_env()?)
        .queue("default", 10)
        .build()
        .await?;
    let address = env::var("HEALTH_ADDR").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("http://{}/ready", listener.local_addr()?);
    // Answers until the process ends: while the node drains, it is live and not ready.
    tokio::spawn(serve(verk.clone(), listener));
    verk.run().await?;
    Ok(())
}
