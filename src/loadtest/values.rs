//! Values of the command line.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use super::schedule::Rate;

/// Most source addresses of one range.
const MAX_ADDRESSES: u128 = 65_536;

/// One address, or all from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// Each address of the range.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let (first, last, four) = (number(self.first), number(self.last), self.first.is_ipv4());
        (first..=last).map(move |n| {
            if four {
                // A range of IPv4 addresses stays below 2^32.
                IpAddr::V4(Ipv4Addr::from_bits(n as u32))
            } else {
                IpAddr::V6(Ipv6Addr::from_bits(n))
            }
        })
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(four) => u128::from(four.to_bits()),
        IpAddr::V6(six) => six.to_bits(),
    }
}

/// `127.0.0.2` or `127.0.0.2-127.0.0.9`.
pub fn addresses(text: &str) -> Result<AddressRange, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let parse = |t: &str| t.trim().parse::<IpAddr>().map_err(|_| format!("{t:?} is no IP address"));
    let range = AddressRange { first: parse(first)?, last: parse(last)? };
    if range.first.is_ipv4() != range.last.is_ipv4() {
        return Err("both ends of a range must be of one family".into());
    }
    let (low, high) = (number(range.first), number(range.last));
    if low > high || high - low >= MAX_ADDRESSES {
        return Err(format!("a range must rise and hold at most {MAX_ADDRESSES} addresses"));
    }
    Ok(range)
}

/// `500ms`, `10s`, `2m`, `1h`, or seconds without a unit. At most a day.
pub fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let number: f64 =
        digits.parse().map_err(|_| "must be a time such as 500ms, 10s or 2m".to_owned())?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "" | "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(format!("{unit:?} is no unit of time; use ms, s, m or h")),
    };
    if !(0.0..=86_400.0).contains(&seconds) {
        return Err("must be at most a day".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// `500` or `100..5000`, messages a second.
pub fn rate(text: &str) -> Result<Rate, String> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let parse = |t: &str| match t.trim().parse::<f64>() {
        Ok(rate) if (0.0..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("must be messages a second, such as 500 or 100..5000".to_owned()),
    };
    let rate = Rate { from: parse(from)?, to: parse(to)? };
    if rate.from + rate.to <= 0.0 {
        return Err("must be above 0".into());
    }
    Ok(rate)
}

/// `128` or `64..1024`, bytes.
pub fn sizes(text: &str) -> Result<(usize, usize), String> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let parse = |t: &str| {
        t.trim().parse::<usize>().map_err(|_| "must be bytes, such as 128 or 64..1024".to_owned())
    };
    let (from, to) = (parse(from)?, parse(to)?);
    if from > to {
        return Err("the first size must not be above the second".into());
    }
    Ok((from, to))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, ms) in [("250ms", 250), ("3", 3000), ("1.5s", 1500), ("2m", 120_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "s", "10x", "-1s", "25h", "1.2.3s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_come_alone_or_in_ranges() {
        let all: Vec<IpAddr> = addresses("127.0.0.254-127.0.1.1").unwrap().addresses().collect();
        assert_eq!(all.len(), 4);
        assert_eq!(all[2].to_string(), "127.0.1.0");
        assert_eq!(addresses("::1").unwrap().addresses().count(), 1);
        for bad in ["x", "127.0.0.2-127.0.0.1", "127.0.0.1-::1", "127.0.0.0-127.255.0.0"] {
            assert!(addresses(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_and_sizes_may_be_ranges() {
        assert_eq!(rate("10"), Ok(Rate { from: 10.0, to: 10.0 }));
        assert_eq!(rate("0..50"), Ok(Rate { from: 0.0, to: 50.0 }));
        assert!(rate("0").is_err() && rate("nan").is_err() && rate("..").is_err());
        assert_eq!(sizes("64..100"), Ok((64, 100)));
        assert!(sizes("100..64").is_err());
    }
}
