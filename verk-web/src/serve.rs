//! The dashboard alone: [`serve`].

use std::{
    fmt,
    future::{Future, IntoFuture},
    io,
    net::SocketAddr,
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
    // Not `with_graceful_shutdown`: it would wait for browsers with an open stream of figures.
    let server = axum::serve(listener, dashboard.router()).into_future();
    tokio::select! {
        ended = server => Ok(ended?),
        () = stop => Ok(()),
    }
}
