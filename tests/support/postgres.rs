//! A PostgreSQL of the test's own.

use std::{
    net::TcpStream,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use super::{redis::free_port, wait::until};

/// How long it may take to start, and to recover.
const START: Duration = Duration::from_secs(60);
/// The password of its one user.
pub const PASSWORD: &str = "not-to-be-seen";

/// A running PostgreSQL with a folder of its own; killed when dropped.
pub struct PostgresServer {
    child: Option<Child>,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    folder: TempDir,
    settings: Vec<String>,
}

/// A program of PostgreSQL: Debian keeps them off the path.
fn program(name: &str) -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing; install it: apt-get install postgresql"))
}

/// It refuses to run as root; then it is another user's.
fn servant() -> Option<(u32, u32)> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    if uid.split_whitespace().nth(1) != Some("0") {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let user = |name: &str| {
        let line = users.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        let mut fields = line.split(':').skip(2).map(|field| field.parse().ok());
        Some((fields.next()??, fields.next()??))
    };
    Some(user("postgres").or_else(|| user("nobody")).expect("a user that is not root"))
}

fn command(name: &str) -> Command {
    let mut command = Command::new(program(name));
    if let Some((uid, gid)) = servant() {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

impl PostgresServer {
    /// Starts an empty one, with its database `hubbub` of its user `hubbub`.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with these settings, such as `max_connections=5`.
    pub fn start_with(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("password");
        std::fs::write(&secret, PASSWORD).unwrap();
        if let Some((uid, gid)) = servant() {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
            chown(&secret, Some(uid), Some(gid)).unwrap();
        }
        let made = command("initdb")
            .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--username=hubbub"])
            .args(["--auth=scram-sha-256", "--pwfile", secret.to_str().unwrap()])
            .args(["-D", folder.path().join("data").to_str().unwrap()])
            .status()
            .unwrap();
        assert!(made.success(), "initdb fails");
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut server = Self { child: None, port: free_port(), folder, settings };
        server.start_again();
        server.sql_in("postgres", "CREATE DATABASE hubbub");
        server
    }

    /// Copies a file to where the server may read it, and nobody else.
    pub fn lend(folder: &Path, file: &Path) -> PathBuf {
        let lent = folder.join(file.file_name().unwrap());
        std::fs::copy(file, &lent).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&lent, mode).unwrap();
        if let Some((uid, gid)) = servant() {
            chown(folder, Some(uid), Some(gid)).unwrap();
            chown(&lent, Some(uid), Some(gid)).unwrap();
        }
        lent
    }

    /// Starts it again after [`kill`](Self::kill), and waits until it answers.
    pub fn start_again(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut server = command("postgres");
        server
            .args(["-D", self.folder.path().join("data").to_str().unwrap()])
            .args(["-p", &self.port.to_string(), "-h", "127.0.0.1", "-k", ""])
            .args(["-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_wal_senders=0"]);
        for setting in &self.settings {
            server.args(["-c", setting]);
        }
        self.child = Some(server.stderr(log).spawn().unwrap());
        until("PostgreSQL answers", START, || self.try_sql("postgres", "SELECT 1").ok());
    }

    /// Kills it with all its processes, and waits until nobody listens.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // SIGQUIT: the processes of its connections end at once too, without a checkpoint.
        let pid = child.id().to_string();
        let _ = Command::new("kill").args(["-QUIT", &pid]).status();
        let _ = child.wait();
        until("PostgreSQL is gone", START, || {
            TcpStream::connect(("127.0.0.1", self.port)).is_err().then_some(())
        });
    }

    /// `postgres://...`, with its password.
    pub fn url(&self) -> String {
        format!("postgres://hubbub:{PASSWORD}@127.0.0.1:{}/hubbub", self.port)
    }

    /// The answer to a question, a row a line, columns between `|`.
    pub fn sql(&self, question: &str) -> String {
        self.sql_in("hubbub", question)
    }

    fn sql_in(&self, database: &str, question: &str) -> String {
        self.try_sql(database, question).unwrap_or_else(|e| panic!("{question}: {e}"))
    }

    /// The same; what went wrong if something did.
    pub fn try_sql(&self, database: &str, question: &str) -> Result<String, String> {
        let asked = Command::new(program("psql"))
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"])
            .args(["-p", &self.port.to_string(), "-U", "hubbub", "-d", database, "-c", question])
            .env("PGPASSWORD", PASSWORD)
            .env("PGCONNECT_TIMEOUT", "5")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim_end().to_owned();
        if asked.status.success() { Ok(text(asked.stdout)) } else { Err(text(asked.stderr)) }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.kill();
    }
}
