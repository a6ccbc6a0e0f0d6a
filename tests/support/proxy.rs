//! A TCP proxy that can fall silent, as a network does that is cut in two, be slow, or
//! cut what goes through it.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// A proxy on 127.0.0.1 to one port there.
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    harm: Arc<Harm>,
}

/// What is done to the connections.
#[derive(Default)]
struct Harm {
    silent: AtomicBool,
    over: AtomicBool,
    /// Milliseconds before each piece, either way.
    slow_ms: AtomicU64,
    /// Connections opened before a cut end.
    cuts: AtomicU64,
}

impl Proxy {
    /// Starts one.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let harm = Arc::<Harm>::default();
        let done = harm.clone();
        listener.set_nonblocking(true).unwrap();
        thread::spawn(move || {
            while !done.over.load(Ordering::SeqCst) {
                let Ok((client, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(2));
                    continue;
                };
                client.set_nonblocking(false).unwrap();
                let there = SocketAddr::from(([127, 0, 0, 1], port));
                let Ok(server) = TcpStream::connect(there) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let done = done.clone();
                    thread::spawn(move || pass(from, to, &done));
                }
            }
        });
        Self { port: own, harm }
    }

    /// From now on nothing passes, and nobody is told; or everything does again.
    pub fn silence(&self, silent: bool) {
        self.harm.silent.store(silent, Ordering::SeqCst);
    }

    /// From now on each piece waits so long, either way.
    pub fn slow(&self, by: Duration) {
        self.harm.slow_ms.store(by.as_millis() as u64, Ordering::SeqCst);
    }

    /// Ends all connections that are open.
    pub fn cut(&self) {
        self.harm.cuts.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.harm.over.store(true, Ordering::SeqCst);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, harm: &Harm) {
    from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let _ = to.set_nodelay(true);
    let mut piece = [0; 64 * 1024];
    let began = harm.cuts.load(Ordering::SeqCst);
    let is_over = || harm.over.load(Ordering::SeqCst) || harm.cuts.load(Ordering::SeqCst) != began;
    while !is_over() {
        if harm.silent.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
            continue;
        }
        match from.read(&mut piece) {
            Ok(n @ 1..) => {
                thread::sleep(Duration::from_millis(harm.slow_ms.load(Ordering::SeqCst)));
                // What was read before the silence is held until it ends.
                while harm.silent.load(Ordering::SeqCst) && !is_over() {
                    thread::sleep(Duration::from_millis(5));
                }
                if to.write_all(&piece[..n]).is_err() {
                    break;
                }
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => break,
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
