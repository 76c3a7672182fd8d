//! The part of Redis's protocol that tests need: [`Reply`], and how to find its end.

use bytes::Bytes;

/// A reply of a Redis server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A short text, such as `OK`.
    Status(String),
    /// An error, with its code in front.
    Error(String),
    /// A number.
    Integer(i64),
    /// A string of bytes.
    Bulk(Bytes),
    /// Nothing there.
    Nil,
    /// Several replies; a map is a list of its keys and values in turn.
    Array(Vec<Reply>),
}

impl Reply {
    /// The bytes of a string; `None` for every other reply.
    #[must_use]
    pub fn into_bytes(self) -> Option<Bytes> {
        match self {
            Self::Bulk(bytes) => Some(bytes),
            Self::Status(text) => Some(text.into()),
            Self::Error(_) | Self::Integer(_) | Self::Nil | Self::Array(_) => None,
        }
    }

    /// The entries of an array; `None` for every other reply.
    #[must_use]
    pub fn into_array(self) -> Option<Vec<Self>> {
        match self {
            Self::Array(entries) => Some(entries),
            Self::Status(_) | Self::Error(_) | Self::Integer(_) | Self::Bulk(_) | Self::Nil => None,
        }
    }

    /// The number; `None` for every other reply.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Status(_) | Self::Error(_) | Self::Bulk(_) | Self::Nil | Self::Array(_) => None,
        }
    }
}

/// What is no RESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// One command, encoded.
pub(crate) fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut encoded = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        encoded.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        encoded.extend_from_slice(arg);
        encoded.extend_from_slice(b"\r\n");
    }
    encoded
}

/// Reads the first value in `input`, of RESP 2 or 3, and answers how long it is; `None` when it is
/// not complete yet.
pub(crate) fn parse(input: &[u8]) -> Result<Option<(Reply, usize)>, Malformed> {
    let mut reader = Reader { input, position: 0 };
    let reply = reader.value()?;
    Ok(reply.map(|reply| (reply, reader.position)))
}

struct Reader<'a> {
    input: &'a [u8],
    position: usize,
}

impl Reader<'_> {
    fn value(&mut self) -> Result<Option<Reply>, Malformed> {
        let Some(line) = self.line() else {
            return Ok(None);
        };
        let (&kind, rest) = line.split_first().ok_or(Malformed)?;
        let text = || String::from_utf8_lossy(rest).into_owned();
        let number = || text().parse::<i64>().map_err(|_| Malformed);
        Ok(Some(match kind {
            b'+' | b',' | b'#' | b'(' => Reply::Status(text()),
            b'-' => Reply::Error(text()),
            b':' => Reply::Integer(number()?),
            b'_' => Reply::Nil,
            b'$' | b'=' | b'!' => return self.bulk(kind, number()?),
            b'*' | b'~' | b'>' => return self.array(number()?),
            b'%' => return self.array(number()? * 2),
            b'|' => {
                // Attributes come before the value that they are about.
                return match self.array(number()? * 2)? {
                    Some(_) => self.value(),
                    None => Ok(None),
                };
            }
            _ => return Err(Malformed),
        }))
    }

    fn bulk(&mut self, kind: u8, len: i64) -> Result<Option<Reply>, Malformed> {
        let Ok(len) = usize::try_from(len) else {
            return Ok(Some(Reply::Nil));
        };
        let rest = &self.input[self.position..];
        if rest.len() < len + 2 {
            return Ok(None);
        }
        if &rest[len..len + 2] != b"\r\n" {
            return Err(Malformed);
        }
        self.position += len + 2;
        Ok(Some(if kind == b'!' {
            Reply::Error(String::from_utf8_lossy(&rest[..len]).into_owned())
        } else {
            Reply::Bulk(Bytes::copy_from_slice(&rest[..len]))
        }))
    }

    fn array(&mut self, len: i64) -> Result<Option<Reply>, Malformed> {
        if len < 0 {
            return Ok(Some(Reply::Nil));
        }
        let mut entries = Vec::new();
        for _ in 0..len {
            match self.value()? {
                Some(entry) => entries.push(entry),
                None => return Ok(None),
            }
        }
        Ok(Some(Reply::Array(entries)))
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let rest = &self.input[self.position..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        self.position += end + 2;
        Some(rest[..end].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_whole_or_not_at_all() {
        let input = b"*3\r\n$3\r\na\r\n\r\n:-7\r\n*2\r\n$-1\r\n+OK\r\nrest";
        let end = input.len() - 4;
        let expected = Reply::Array(vec![
            Reply::Bulk("a\r\n".into()),
            Reply::Integer(-7),
            Reply::Array(vec![Reply::Nil, Reply::Status("OK".into())]),
        ]);
        assert_eq!(parse(input), Ok(Some((expected, end))));
        for cut in 0..end {
            assert_eq!(parse(&input[..cut]), Ok(None), "{cut}");
        }
    }

    #[test]
    fn resp_3_is_understood() {
        let input = b"|1\r\n+ttl\r\n:5\r\n%1\r\n+a\r\n_\r\n";
        let expected = Reply::Array(vec![Reply::Status("a".into()), Reply::Nil]);
        assert_eq!(parse(input), Ok(Some((expected, input.len()))));
    }

    #[test]
    fn what_is_no_resp_is_an_error() {
        assert_eq!(parse(b"GET a\r\n"), Err(Malformed));
        assert_eq!(parse(b"$1\r\nabc"), Err(Malformed));
    }

    #[test]
    fn commands_are_arrays() {
        assert_eq!(encode(&["GET", ""]), b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n");
    }
}
