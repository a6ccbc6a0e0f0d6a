//! Why a Socket.IO message is refused.

/// A malformed packet. The reference closes the whole connection on any of
/// them, also in the middle of a polling payload; so must the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SocketError {
    /// The text is empty or does not begin with `0` to `6`.
    #[error("a Socket.IO packet must begin with a type from 0 to 6")]
    UnknownType,
    /// A binary packet without a count of 1 or more and a `-`.
    #[error("a binary packet must name how many attachments follow")]
    InvalidAttachmentCount,
    /// More attachments than stock clients take.
    #[error("a packet carries at most {max} attachments")]
    TooManyAttachments {
        /// The limit.
        max: usize,
    },
    /// The namespace is longer than the limit.
    #[error("the namespace exceeds {max} bytes")]
    NamespaceTooLong {
        /// The limit in bytes.
        max: usize,
    },
    /// The namespace of a msgpack packet is missing, does not begin with `/`, or has a
    /// comma.
    #[error("the namespace must begin with `/` and have no comma")]
    InvalidNamespace,
    /// The ack id does not fit into 64 bits.
    #[error("the ack id is not an integer of 64 bits")]
    InvalidAckId,
    /// The data is not JSON, or not of the shape its packet type asks for.
    #[error("the packet's data is not what its type asks for")]
    InvalidPayload,
    /// An event's first element is neither a string nor a number.
    #[error("an event's name must be a string or a number")]
    InvalidEventName,
    /// An event name that means something to the libraries themselves.
    #[error("the event name is reserved")]
    ReservedEventName,
    /// Arrays and objects in more levels than the limit.
    #[error("the data is nested deeper than {max} levels")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// More elements in the packet's array than the limit.
    #[error("the packet's array has more than {max} elements")]
    TooManyElements {
        /// The limit.
        max: usize,
    },
    /// A placeholder whose `num` is no index of an attachment.
    #[error("a placeholder names an attachment that the packet does not have")]
    InvalidPlaceholder,
    /// A text message came while attachments were due.
    #[error("a text message came where an attachment was due")]
    TextInsteadOfAttachment,
    /// A text message came where packets are msgpack.
    #[error("a text message came, and packets are msgpack here")]
    UnexpectedText,
    /// A binary message that no packet announced.
    #[error("a binary message came without a packet that announced it")]
    UnexpectedAttachment,
    /// Text and attachments of one packet together are above the limit.
    #[error("the packet exceeds the limit of {max} bytes")]
    TooLarge {
        /// The limit in bytes.
        max: usize,
    },
    /// An earlier message was refused; nothing is read after it.
    #[error("the connection was refused after an earlier malformed packet")]
    AlreadyFailed,
}

impl SocketError {
    /// A stable word for counters and logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownType => "packet_type_unknown",
            Self::InvalidAttachmentCount => "attachment_count_invalid",
            Self::TooManyAttachments { .. } => "too_many_attachments",
            Self::NamespaceTooLong { .. } => "namespace_too_long",
            Self::InvalidNamespace => "namespace_invalid",
            Self::InvalidAckId => "ack_id_invalid",
            Self::InvalidPayload => "payload_invalid",
            Self::InvalidEventName => "event_name_invalid",
            Self::ReservedEventName => "event_name_reserved",
            Self::TooDeep { .. } => "too_deep",
            Self::TooManyElements { .. } => "too_many_elements",
            Self::InvalidPlaceholder => "placeholder_invalid",
            Self::TextInsteadOfAttachment => "text_instead_of_attachment",
            Self::UnexpectedText => "text_unexpected",
            Self::UnexpectedAttachment => "attachment_unexpected",
            Self::TooLarge { .. } => "too_large",
            Self::AlreadyFailed => "already_failed",
        }
    }
}
