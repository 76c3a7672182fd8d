/// Documented.
#[verk::worker]
#[cfg(feature = "mail")]
#[deprecated = "use another"]
#[tracing::instrument]
pub async fn old(#[allow(unused)] path: String) {}
