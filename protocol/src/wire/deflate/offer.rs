//! What clients offer in `Sec-WebSocket-Extensions` (RFC 6455 section 9.1) and what
//! of it is agreed on (RFC 7692 sections 5.1 and 7.1).

/// The name of the extension.
pub const NAME: &str = "permessage-deflate";

const SERVER_NO_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_WINDOW: &str = "server_max_window_bits";
const CLIENT_WINDOW: &str = "client_max_window_bits";

/// What was agreed on with a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// How far back a compressed message from the server may refer, as a power of
    /// two, 8 to 15.
    pub window_bits: u8,
    /// The client asked for that window, and must be told that it gets it.
    asked: bool,
}

impl Agreed {
    /// The value of `Sec-WebSocket-Extensions` in the answer.
    #[must_use]
    pub fn answer(&self) -> String {
        let mut answer = format!("{NAME}; {SERVER_NO_TAKEOVER}; {CLIENT_NO_TAKEOVER}");
        if self.asked {
            answer.push_str(&format!("; {SERVER_WINDOW}={}", self.window_bits));
        }
        answer
    }
}

/// The first offer that can be accepted, in the client's order; none if there is none
/// such. `headers` are the values of all `Sec-WebSocket-Extensions` of a handshake; what
/// comes behind a fault of grammar in one of them is not looked at.
///
/// Every window that a client asks for can be given: a message that is no longer than
/// the window refers to nothing beyond it. Whatever window the client uses can be read,
/// so `client_max_window_bits` needs no answer.
pub fn agree<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Agreed> {
    headers.into_iter().find_map(|header| {
        let mut rest = Rest(header);
        loop {
            match rest.offer()? {
                Some(agreed) => return Some(agreed),
                None if rest.take(',') => {}
                None => return None,
            }
        }
    })
}

/// What is not read yet of a header.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// One offer, as far as it can be accepted; `None` for a fault of grammar.
    #[allow(clippy::option_option)]
    fn offer(&mut self) -> Option<Option<Agreed>> {
        self.skip_blanks();
        if self.0.is_empty() || self.0.starts_with(',') {
            // Lists may have empty elements (RFC 9110 section 5.6.1).
            return Some(None);
        }
        let mut terms = Terms { acceptable: self.token()? == NAME, ..Terms::default() };
        while self.take(';') {
            self.skip_blanks();
            let name = self.token()?;
            let value = if self.take('=') { Some(self.value()?) } else { None };
            terms.add(name, value);
        }
        self.skip_blanks();
        (self.0.is_empty() || self.0.starts_with(',')).then(|| terms.agreed())
    }

    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn take(&mut self, sign: char) -> bool {
        self.skip_blanks();
        let taken = self.0.strip_prefix(sign);
        self.0 = taken.unwrap_or(self.0);
        taken.is_some()
    }

    fn token(&mut self) -> Option<&'a str> {
        let other = |c: char| !c.is_ascii_alphanumeric() && !"!#$%&'*+-.^_`|~".contains(c);
        let (token, rest) = self.0.split_at(self.0.find(other).unwrap_or(self.0.len()));
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    /// A token, plain or in quotes.
    fn value(&mut self) -> Option<&'a str> {
        self.skip_blanks();
        let Some(quoted) = self.0.strip_prefix('"') else { return self.token() };
        self.0 = quoted;
        let value = self.token()?;
        self.0 = self.0.strip_prefix('"')?;
        Some(value)
    }
}

/// What one offer asks for.
#[derive(Default)]
struct Terms<'a> {
    acceptable: bool,
    names: Vec<&'a str>,
    window: Option<u8>,
}

impl<'a> Terms<'a> {
    /// A parameter that is not known, twice there or has a wrong value makes the offer
    /// one that must be declined (section 7.1).
    fn add(&mut self, name: &'a str, value: Option<&str>) {
        // So at most the four that are known are kept.
        let fine = !self.names.contains(&name)
            && match name {
                SERVER_NO_TAKEOVER | CLIENT_NO_TAKEOVER => value.is_none(),
                SERVER_WINDOW => {
                    self.window = value.and_then(window_bits);
                    self.window.is_some()
                }
                CLIENT_WINDOW => value.is_none_or(|value| window_bits(value).is_some()),
                _ => false,
            };
        self.acceptable &= fine;
        if self.acceptable {
            self.names.push(name);
        }
    }

    fn agreed(&self) -> Option<Agreed> {
        self.acceptable.then(|| Agreed {
            window_bits: self.window.unwrap_or(15),
            asked: self.window.is_some(),
        })
    }
}

/// 8 to 15, without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (8..=15).contains(bits))?;
    (value.len() == if bits < 10 { 1 } else { 2 }).then_some(bits)
}
