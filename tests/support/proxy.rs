//! A TCP proxy that can fall silent, as a network does that is cut in two.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// A proxy on 127.0.0.1 to one port there.
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    silent: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Proxy {
    /// Starts one.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let (silent, over) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (quiet, ended) = (silent.clone(), over.clone());
        listener.set_nonblocking(true).unwrap();
        thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                let Ok((client, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(2));
                    continue;
                };
                client.set_nonblocking(false).unwrap();
                let there = SocketAddr::from(([127, 0, 0, 1], port));
                let Ok(server) = TcpStream::connect(there) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let (quiet, ended) = (quiet.clone(), ended.clone());
                    thread::spawn(move || pass(from, to, &quiet, &ended));
                }
            }
        });
        Self { port: own, silent, over }
    }

    /// From now on nothing passes, and nobody is told; or everything does again.
    pub fn silence(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, silent: &AtomicBool, over: &AtomicBool) {
    from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let _ = to.set_nodelay(true);
    let mut piece = [0; 64 * 1024];
    while !over.load(Ordering::SeqCst) {
        if silent.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
            continue;
        }
        match from.read(&mut piece) {
            Ok(n @ 1..) => {
                // What was read before the silence is held until it ends.
                while silent.load(Ordering::SeqCst) && !over.load(Ordering::SeqCst) {
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
