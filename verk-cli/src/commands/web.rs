//! The dashboard, alone.

use std::fs;

use tokio::net::TcpListener;
use verk_web::{Access, Dashboard};

use super::Session;
use crate::{
    args::WebArgs,
    failure::{Exit, Failure},
};

impl Session<'_> {
    pub(crate) async fn web(&mut self, args: &WebArgs) -> Result<Exit, Failure> {
        let access = access(args)?;
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
            let verk = connection.connect_to(url).await?;
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
        let path = args.base_path.as_deref().unwrap_or("/");
        self.output.note(&format!(
            "the dashboard is at http://{address}{path} until Ctrl-C"
        ))?;
        let stop = async {
            // Without signals, the process is ended from outside.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
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
