//! Deleting everything under a prefix.

use bb8_redis::redis::{self, Value};

use crate::{
    connect::{link::Link, reply},
    error::{Error, Failure},
    glob,
};

pub(crate) async fn delete(link: &Link) -> Result<(), Error> {
    let prefix = link.keys.prefix();
    if prefix.is_empty() {
        return Err(Error::NoPrefix);
    }
    scan_and_delete(link, prefix)
        .await
        .map_err(|failure| failure.during("delete the keys under a prefix").into())
}

async fn scan_and_delete(link: &Link, prefix: &str) -> Result<(), Failure> {
    let pattern = format!("{}*", glob::literal(prefix));
    let mut cursor = "0".to_owned();
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(&cursor)
            .arg("MATCH")
            .arg(&pattern)
            .arg("COUNT")
            .arg(1000);
        let reply = reply::array(link.ask(&scan).await?)?;
        let Ok([next, found]) = <[Value; 2]>::try_from(reply) else {
            return Err(Failure::unexpected_reply("a cursor with keys"));
        };
        let found = reply::payloads(found)?;
        if !found.is_empty() {
            let mut unlink = redis::cmd("UNLINK");
            for key in &found {
                unlink.arg(&key[..]);
            }
            link.ask(&unlink).await?;
        }
        cursor = reply::text(next)?;
        if cursor == "0" {
            return Ok(());
        }
    }
}
