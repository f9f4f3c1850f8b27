//! Who calls: how many connections each has, and how often each asks.
//!
//! A caller is an IPv4 address, or the first half of an IPv6 one: the rest is the caller's to choose.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Connections at once, of one caller, and of all.
pub(super) const CONNECTIONS_OF_ONE_MAX: usize = 64;
const CONNECTIONS_MAX: usize = 512;

/// Callers whose requests are remembered. Whoever comes beyond them waits until some of these are forgotten, which
/// takes a second without a request.
const REMEMBERED_MAX: usize = 65_536;

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Caller(IpAddr);

/// All that call.
pub(super) struct Callers {
    connected: Mutex<HashMap<Caller, usize>>,
    asked: DefaultKeyedRateLimiter<Caller>,
}

/// A connection's place.
pub(super) struct Place {
    callers: Arc<Callers>,
    caller: Caller,
}

impl Callers {
    /// Each may make so many requests in a second, at once if it likes.
    pub(super) fn new(requests_per_second_max: NonZeroU32) -> Self {
        let asked = RateLimiter::keyed(Quota::per_second(requests_per_second_max));
        Self { connected: Mutex::default(), asked }
    }

    /// A place for a connection; none if the caller has enough, or all have.
    pub(super) fn enter(callers: &Arc<Self>, from: SocketAddr) -> Option<Place> {
        let caller = Caller::at(from.ip());
        let mut connected = callers.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = connected.values().sum();
        let own = connected.entry(caller).or_default();
        if all >= CONNECTIONS_MAX || *own >= CONNECTIONS_OF_ONE_MAX {
            return None;
        }
        *own += 1;
        Some(Place { callers: Arc::clone(callers), caller })
    }

    /// Whether `caller` may ask now.
    pub(super) fn may_ask(&self, caller: Caller) -> bool {
        if self.asked.len() >= REMEMBERED_MAX {
            self.asked.retain_recent();
            if self.asked.len() >= REMEMBERED_MAX {
                return false;
            }
        }
        self.asked.check_key(&caller).is_ok()
    }
}

impl Caller {
    fn at(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        })
    }
}

impl Place {
    /// Whose it is.
    pub(super) const fn caller(&self) -> Caller {
        self.caller
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connected = self.callers.connected.lock().unwrap_or_else(PoisonError::into_inner);
        match connected.get_mut(&self.caller) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(connected.remove(&self.caller)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn callers(requests: u32) -> Arc<Callers> {
        Arc::new(Callers::new(NonZeroU32::new(requests).unwrap()))
    }

    #[test]
    fn each_caller_has_so_many_connections_and_all_have() {
        let callers = callers(1);
        let of_one = |last: u8| SocketAddr::from(([192, 0, 2, last], 7));
        let mut places: Vec<_> =
            (0..CONNECTIONS_OF_ONE_MAX).map(|_| Callers::enter(&callers, of_one(0)).unwrap()).collect();
        assert!(Callers::enter(&callers, of_one(0)).is_none());
        drop(places.pop());
        places.push(Callers::enter(&callers, of_one(0)).unwrap());

        for last in 1.. {
            let more = (0..CONNECTIONS_OF_ONE_MAX).map_while(|_| Callers::enter(&callers, of_one(last)));
            let before = places.len();
            places.extend(more);
            if places.len() == before {
                break;
            }
        }
        assert_eq!(places.len(), CONNECTIONS_MAX);
        drop(places);
        // Who was refused a place is forgotten with the others, or counts for nothing.
        assert_eq!(callers.connected.lock().unwrap().values().sum::<usize>(), 0);
        assert!(Callers::enter(&callers, of_one(0)).is_some());
    }

    #[test]
    fn an_address_of_the_sixth_version_is_one_caller_with_its_neighbours() {
        let at = |text: &str| Caller::at(text.parse().unwrap());
        assert_eq!(at("2001:db8:1:2::3"), at("2001:db8:1:2:ffff::4"));
        assert_ne!(at("2001:db8:1:2::3"), at("2001:db8:1:3::3"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
    }

    #[test]
    fn who_asks_too_often_is_refused_and_nobody_else() {
        let callers = callers(1);
        let (one, other) = (Caller::at([192, 0, 2, 1].into()), Caller::at([192, 0, 2, 2].into()));
        let began = std::time::Instant::now();
        let answered = (0..10_000).filter(|_| callers.may_ask(one)).count() as u64;
        assert!((1..=1 + began.elapsed().as_secs()).contains(&answered), "{answered}");
        assert!(callers.may_ask(other));
    }
}
