//! Binary values beside JSON text.

use bytes::Bytes;

use super::{MAX_ATTACHMENTS, SocketError, find_placeholders};

/// Collects the binary values of a packet under construction.
///
/// ```
/// use hubbub_protocol::wire::socketio::{Attachments, write_event};
///
/// let mut attachments = Attachments::default();
/// let picture = attachments.attach(vec![1, 2, 3].into())?;
/// let mut text = String::new();
/// write_event(&mut text, "/", "picture", &[&picture], None, attachments.len());
/// assert_eq!(text, r#"51-["picture",{"_placeholder":true,"num":0}]"#);
/// // Send the text, then each of attachments.into_inner() as a binary message.
/// # Ok::<(), hubbub_protocol::wire::socketio::SocketError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Attachments(Vec<Bytes>);

impl Attachments {
    /// Adds a binary value and answers the JSON that stands for it.
    ///
    /// # Errors
    /// [`SocketError::TooManyAttachments`] when there are
    /// [`MAX_ATTACHMENTS`] already.
    pub fn attach(&mut self, data: Bytes) -> Result<String, SocketError> {
        if self.0.len() >= MAX_ATTACHMENTS {
            return Err(SocketError::TooManyAttachments { max: MAX_ATTACHMENTS });
        }
        let json = format!(r#"{{"_placeholder":true,"num":{}}}"#, self.0.len());
        self.0.push(data);
        Ok(json)
    }

    /// How many there are: the count to write into the packet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none: the packet is not a binary one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values in the order in which they must be sent.
    #[must_use]
    pub fn into_inner(self) -> Vec<Bytes> {
        self.0
    }
}

/// Replaces each placeholder in `json` by what `render` writes for its
/// attachment, for example base64 for a wire that has no binary. Everything
/// else stays as it is.
///
/// `render` may be called more than once for one attachment: a short text can
/// name a long attachment many times, so bound what it writes.
///
/// # Errors
/// [`SocketError::InvalidPlaceholder`] for an index without an attachment.
pub fn substitute(
    json: &str,
    attachments: &[Bytes],
    mut render: impl FnMut(&Bytes, &mut String),
) -> Result<String, SocketError> {
    let mut out = String::with_capacity(json.len());
    let mut at = 0;
    for placeholder in find_placeholders(json, attachments.len())? {
        let data = attachments.get(placeholder.index).ok_or(SocketError::InvalidPlaceholder)?;
        out.push_str(&json[at..placeholder.span.start]);
        render(data, &mut out);
        at = placeholder.span.end;
    }
    out.push_str(&json[at..]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn numbers_the_values_and_stops_at_the_limit() {
        let mut attachments = Attachments::default();
        assert!(attachments.is_empty());
        for n in 0..MAX_ATTACHMENTS {
            let json = attachments.attach(Bytes::from(vec![0; n])).unwrap();
            assert_eq!(json, format!(r#"{{"_placeholder":true,"num":{n}}}"#));
        }
        assert_eq!(
            attachments.attach(Bytes::new()),
            Err(SocketError::TooManyAttachments { max: 10 })
        );
        assert_eq!(attachments.into_inner()[3].len(), 3);
    }

    #[test]
    fn substitutes_in_place() {
        let json =
            r#"[ 1.50, {"_placeholder":true,"num":1}, {"b":{"num":0,"_placeholder":true}} ]"#;
        let attachments = [Bytes::from_static(b"zero"), Bytes::from_static(b"one")];
        let render = |data: &Bytes, out: &mut String| {
            out.push_str(&serde_json::to_string(std::str::from_utf8(data).unwrap()).unwrap());
        };
        let got = substitute(json, &attachments, render).unwrap();
        assert_eq!(got, r#"[ 1.50, "one", {"b":"zero"} ]"#);
        assert_eq!(
            substitute(json, &attachments[..1], render),
            Err(SocketError::InvalidPlaceholder)
        );
    }
}
