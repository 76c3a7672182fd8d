//! The dashboard, alone.

use std::{fs, future};

use tokio::net::TcpListener;
use verk_web::{Access, Dashboard};

use super::Session;
use crate::{
    args::WebArgs,
    failure::{Exit, Failure},
    text::clean,
};

impl Session<'_> {
    pub(crate) async fn web(&mut self, args: &WebArgs) -> Result<Exit, Failure> {
        let access = access(args)?;
        if !args.bind.ip().is_loopback() && args.token_file.is_none() {
            return Err(Failure::usage(format!(
                "{} can be reached from other machines: give --token-file with a secret that visitors must know",
                args.bind
            )));
        }
        let mut dashboard = Dashboard::new(self.admin.clone(), access);
        if let Some(title) = &args.title {
            dashboard = dashboard.title(title);
        }
        if args.show_args {
            dashboard = dashboard.show_args();
        }
        if let Some(path) = &args.base_path {
            dashboard = dashboard.base_path(path);
        }
        let mut others = Vec::new();
        for other in &args.others {
            let (name, url) = other.split_once('=').ok_or_else(|| {
                Failure::usage("--and is written as NAME=URL, such as us=redis://us:6379")
            })?;
            let connection = self.connection.ok_or_else(|| {
                Failure::usage(
                    "this program has a storage of its own: --and is for the binary verk",
                )
            })?;
            let verk = connection.connect_to(url).await;
            let verk = verk.map_err(|failure| match failure {
                Failure::Usage(_) => Failure::usage(format!(
                    "the URL of {name} in --and must have no user and no password: others see the arguments of a process"
                )),
                other => other,
            })?;
            dashboard = dashboard.and(name, verk.admin());
            others.push(verk);
        }
        let cannot = |error: &dyn std::fmt::Display| {
            Failure::usage(format!(
                "the dashboard cannot be served at {}: {error}",
                args.bind
            ))
        };
        let listener = TcpListener::bind(args.bind)
            .await
            .map_err(|error| cannot(&error))?;
        let address = listener.local_addr().map_err(|error| cannot(&error))?;
        let who = match (&args.token_file, args.read_only) {
            (Some(_), _) => "who knows the secret may change jobs",
            (None, true) => "nobody may change anything",
            (None, false) => "every user of this machine may change jobs",
        };
        let proxy = args.base_path.as_ref().map_or_else(String::new, |path| {
            format!(", for a proxy that serves it at {}", clean(path))
        });
        self.output.note(&format!(
            "the dashboard is at http://{address}/{proxy}; {who}; Ctrl-C ends it"
        ))?;
        let interrupt = self.output.interrupt.clone();
        // TERM is how systemd and Docker stop it: as process 1 of a container it would not end by
        // itself.
        let stop = async move {
            tokio::select! {
                () = interrupt.wait() => {}
                () = terminated() => {}
            }
        };
        let served = verk_web::serve(listener, dashboard, stop).await;
        served.map_err(|error| cannot(&error))?;
        for verk in others {
            verk.shutdown().await;
        }
        Ok(Exit::DONE)
    }
}

#[cfg(unix)]
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};

    match signal(SignalKind::terminate()) {
        Ok(mut terms) => drop(terms.recv().await),
        Err(_) => future::pending().await,
    }
}

#[cfg(not(unix))]
async fn terminated() {
    future::pending().await
}

fn access(args: &WebArgs) -> Result<Access, Failure> {
    if args.read_only {
        return Ok(Access::read_only());
    }
    let Some(file) = &args.token_file else {
        return Ok(Access::open());
    };
    let token = fs::read_to_string(file).map_err(|error| {
        Failure::usage(format!(
            "the secret in {} cannot be read: {error}",
            file.display()
        ))
    })?;
    match token.trim() {
        "" => Err(Failure::usage(format!(
            "the file {} is empty",
            file.display()
        ))),
        token => Ok(Access::token(token)),
    }
}
