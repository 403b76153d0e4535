//! The PROXY protocol, versions 1 and 2: what a load balancer says of the client it stands before.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Malformed;
use super::read::Cursor;

/// The longest line of version 1, its end included.
const LINE_LEN_MAX: usize = 107;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const HEAD_LEN: usize = 16;

/// Version 2, LOCAL: the connection is the sender's own.
pub const LOCAL_HEADER: [u8; HEAD_LEN] = *b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// How far a header has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// At least this many bytes belong to it, from its beginning.
    Longer(usize),
    /// The client's address.
    From(SocketAddr),
    /// It names none: LOCAL, UNKNOWN, or no address of the internet.
    Unnamed,
}

/// Whether these bytes begin a header. The first packet of a client, which is number 1, never does.
pub fn begins_proxy_header(first: [u8; 4]) -> bool {
    first == *b"PROX" || first == SIGNATURE[..4]
}

impl ProxyHeader {
    /// `bytes` are the first of a header, and none beyond it.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.starts_with(&SIGNATURE[..4]) { version_2(bytes) } else { version_1(bytes) }
    }
}

fn version_1(bytes: &[u8]) -> Result<ProxyHeader, Malformed> {
    let Some(line) = bytes.strip_suffix(b"\r\n") else {
        if bytes.len() >= LINE_LEN_MAX {
            return Err(Malformed("PROXY header: a line without end"));
        }
        // What follows the line is the client's, so it is read byte by byte.
        return Ok(ProxyHeader::Longer(bytes.len() + 1));
    };
    let wrong = Malformed("PROXY header: not of the form of version 1");
    let line = std::str::from_utf8(line).map_err(|_| wrong)?;
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => Ok(ProxyHeader::Unnamed),
        ["PROXY", family @ ("TCP4" | "TCP6"), source, target, source_port, target_port] => {
            let port = |text: &str| decimal(text).ok_or(wrong);
            port(target_port)?;
            let of_family = |text: &str| -> Result<IpAddr, Malformed> {
                match family {
                    "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| wrong),
                    _ => text.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| wrong),
                }
            };
            of_family(target)?;
            Ok(ProxyHeader::From(SocketAddr::new(of_family(source)?, port(source_port)?)))
        }
        _ => Err(wrong),
    }
}

fn decimal(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn version_2(bytes: &[u8]) -> Result<ProxyHeader, Malformed> {
    let begun = bytes.len().min(SIGNATURE.len());
    if bytes[..begun] != SIGNATURE[..begun] {
        return Err(Malformed("PROXY header: not the signature of version 2"));
    }
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_LEN>() else {
        return Ok(ProxyHeader::Longer(HEAD_LEN));
    };
    let [.., version_command, family, len_high, len_low] = *head;
    let len = usize::from(u16::from_be_bytes([len_high, len_low]));
    if version_command >> 4 != 2 {
        return Err(Malformed("PROXY header: neither version 1 nor 2"));
    }
    if rest.len() < len {
        return Ok(ProxyHeader::Longer(HEAD_LEN + len));
    }
    let mut fields = Cursor::new(&rest[..len]);
    let be_port = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
    // What follows the addresses is of no interest.
    match (version_command & 0x0F, family >> 4) {
        (0, _) => Ok(ProxyHeader::Unnamed),
        (1, 1) => {
            let source: [u8; 4] = fields.bytes(4)?.try_into().map_err(|_| Malformed("too short"))?;
            fields.bytes(4)?;
            let ports = fields.bytes(4)?;
            Ok(ProxyHeader::From(SocketAddr::new(Ipv4Addr::from(source).into(), be_port(ports))))
        }
        (1, 2) => {
            let source: [u8; 16] = fields.bytes(16)?.try_into().map_err(|_| Malformed("too short"))?;
            fields.bytes(16)?;
            let ports = fields.bytes(4)?;
            Ok(ProxyHeader::From(SocketAddr::new(Ipv6Addr::from(source).into(), be_port(ports))))
        }
        (1, 0 | 3) => Ok(ProxyHeader::Unnamed),
        _ => Err(Malformed("PROXY header: unknown command or family")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads as a connection does, never a byte too many.
    fn read(bytes: &[u8]) -> Result<(ProxyHeader, usize), Malformed> {
        let mut len = 4;
        loop {
            match ProxyHeader::read(&bytes[..len])? {
                ProxyHeader::Longer(more) if more > bytes.len() => {
                    return Ok((ProxyHeader::Longer(more), len));
                }
                ProxyHeader::Longer(more) => {
                    assert!(more > len);
                    len = more;
                }
                done => return Ok((done, len)),
            }
        }
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = (rest.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, rest].concat()
    }

    #[test]
    fn addresses_are_read_and_nothing_behind_them() {
        let ipv6 = [&[0xFD; 16][..], &[0; 16], &[0x12, 0x34, 0, 1]].concat();
        let cases: [(Vec<u8>, &str); 9] = [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 3307\r\n".to_vec(), "192.0.2.7:56324"),
            (b"PROXY TCP6 2001:db8::7 ::1 1 3307\r\n".to_vec(), "[2001:db8::7]:1"),
            (b"PROXY UNKNOWN\r\n".to_vec(), "unnamed"),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), "unnamed"),
            (v2(0x21, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0xDC, 4, 1, 2]), "192.0.2.7:56324"),
            (v2(0x21, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0xDC, 4, 1, 2, 3, 0, 1, 9]), "192.0.2.7:56324"),
            (v2(0x21, 0x21, &ipv6), "[fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd]:4660"),
            (v2(0x20, 0x11, &[1, 2, 3]), "unnamed"),
            (v2(0x21, 0x31, &[b'/'; 216]), "unnamed"),
        ];
        for (header, expected) in cases {
            let with_more = [&header[..], b"J\0\0\x01 a login"].concat();
            let (found, len) = read(&with_more).expect("well-formed");
            let shown = match found {
                ProxyHeader::From(address) => address.to_string(),
                other => format!("{other:?}").to_lowercase(),
            };
            assert_eq!((shown.as_str(), len), (expected, header.len()));
            for cut in 4..header.len() {
                let cut = read(&header[..cut]);
                assert!(matches!(cut, Ok((ProxyHeader::Longer(_), _))), "{cut:?}");
            }
        }
        assert_eq!(read(&LOCAL_HEADER), Ok((ProxyHeader::Unnamed, HEAD_LEN)));
    }

    #[test]
    fn nonsense_is_malformed() {
        let long = [b"PROXY UNKNOWN ", &[b'x'; 200][..], b"\r\n"].concat();
        let cases: [&[u8]; 12] = [
            b"PROXY\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 56324\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 +5 3307\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 3307\r\n",
            b"PROXX TCP4 192.0.2.7 10.0.0.1 1 3307\r\n",
            &long,
            b"\r\n\r\n\0\r\nQUIX\n\x21\x11\0\x0c............",
            &v2(0x11, 0x11, &[0; 12]),
            &v2(0x21, 0x11, &[0; 11]),
            &v2(0x21, 0x21, &[0; 12]),
            &v2(0x22, 0x11, &[0; 12]),
        ];
        for bytes in cases {
            assert!(read(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn no_login_begins_like_a_header() {
        assert!(begins_proxy_header(*b"PROX"));
        assert!(begins_proxy_header(*b"\r\n\r\n"));
        assert!((0..=u16::MAX).all(|len| !begins_proxy_header([len as u8, (len >> 8) as u8, 0, 1])));
    }
}
