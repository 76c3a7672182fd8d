//! The dashboard alone: [`serve`].

use std::{
    fmt,
    future::{Future, IntoFuture},
    io,
    net::{IpAddr, SocketAddr},
};

use axum::{
    extract::Request,
    http::{StatusCode, header::HOST, uri::Authority},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tokio::net::TcpListener;

use crate::Dashboard;

/// Why a dashboard is not served.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The address can be reached from other machines, and nobody would have to prove who it is.
    NeedsAccess(SocketAddr),
    /// The address cannot be used.
    Io(io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedsAccess(address) => write!(
                f,
                "{address} can be reached from other machines, so the dashboard needs Access::token, Access::basic or Access::by"
            ),
            Self::Io(error) => write!(f, "the dashboard cannot be served: {error}"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NeedsAccess(_) => None,
            Self::Io(error) => Some(error),
        }
    }
}

impl From<io::Error> for ServeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Serves a dashboard at the root of `listener` until `stop` completes.
///
/// If nobody has to prove who it is, only requests to a name of this machine are answered: its
/// loopback addresses and `localhost`. Otherwise a page from anywhere, whose name an attacker lets
/// resolve to this machine, could use the dashboard with the browser of who looks at it.
///
/// ```no_run
/// # async fn run(verk: verk_core::Verk) -> Result<(), Box<dyn std::error::Error>> {
/// use verk_web::{Access, Dashboard};
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:7420").await?;
/// let dashboard = Dashboard::new(verk.admin(), Access::open());
/// let stop = async {
///     let _ = tokio::signal::ctrl_c().await;
/// };
/// verk_web::serve(listener, dashboard, stop).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`ServeError::NeedsAccess`] for an address that is not one of this machine alone, with
/// [`Access::open`](crate::Access::open) or [`Access::read_only`](crate::Access::read_only). An
/// error of the listener.
pub async fn serve(
    listener: TcpListener,
    dashboard: Dashboard,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() && !dashboard.access.asks() {
        return Err(ServeError::NeedsAccess(address));
    }
    let asks = dashboard.access.asks();
    let mut router = dashboard.router();
    if !asks {
        router = router.layer(middleware::from_fn(of_this_machine));
    }
    // Not `with_graceful_shutdown`: it would wait for browsers with an open stream of figures.
    let server = axum::serve(listener, router).into_future();
    tokio::select! {
        ended = server => Ok(ended?),
        () = stop => Ok(()),
    }
}

/// Refuses a request to a name that is not one of this machine alone.
async fn of_this_machine(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST);
    let host = host.and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    if host.is_some_and(|host| is_loopback(host.host())) {
        return next.run(request).await;
    }
    let message = "This dashboard asks nobody who it is, so it is reached as 127.0.0.1 or localhost only. Give it a token to reach it by another name.\n";
    (StatusCode::MISDIRECTED_REQUEST, message).into_response()
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_address = address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    is_address || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in ["127.0.0.1", "127.1.2.3", "[::1]", "localhost", "LOCALHOST"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "10.0.0.1",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::2]",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
