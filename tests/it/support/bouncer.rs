//! A real `PgBouncer` in front of the tests' Postgres, and certificates of an authority of one's own.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use helena_sync::clock::{Clock as _, SystemClock};
use tempfile::TempDir;
use url::Url;

/// A `PgBouncer`. Killed when dropped.
pub(crate) struct Bouncer {
    child: Child,
    port: u16,
    /// Its configuration and its log.
    _folder: TempDir,
}

/// Where distributions put the program.
fn program() -> PathBuf {
    let folders = std::env::var("PATH").unwrap_or_default();
    let folders = folders.split(':').map(str::to_owned);
    let settings = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"].map(str::to_owned);
    folders
        .chain(settings)
        .map(|folder| Path::new(&folder).join("pgbouncer"))
        .find(|path| path.exists())
        .expect(
            "PgBouncer is not installed, and tests of poolers need it. Debian, Ubuntu: sudo apt-get \
             install pgbouncer; scripts/with-postgres installs it as root",
        )
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Bouncer {
    /// In front of the database of this address, in a pool mode, with further lines of its
    /// configuration.
    pub(crate) async fn before(url: &str, mode: &str, settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::inside(folder, url, mode, settings).await
    }

    /// The same, with its files in a folder, which the lines may name.
    pub(crate) async fn inside(folder: TempDir, url: &str, mode: &str, settings: &str) -> Self {
        let (mut folder, mut said) = (folder, String::new());
        // It cannot choose a port itself, and one that is free now may be taken in a moment.
        for _ in 0..5 {
            match Self::begin(folder, url, mode, settings).await {
                Ok(bouncer) => return bouncer,
                Err((unused, log)) => (folder, said) = (unused, log),
            }
        }
        panic!("PgBouncer does not listen: {said}");
    }

    /// Starts it at a port that is free now. Returns the folder and its log if it does not listen there.
    async fn begin(
        folder: TempDir,
        url: &str,
        mode: &str,
        settings: &str,
    ) -> Result<Self, (TempDir, String)> {
        let server = Url::parse(url).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let name = server.path().trim_start_matches('/');
        let text = format!(
            "[databases]\n{name} = host={} port={} user={} password='{}' dbname={name}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {mode}\n{settings}\n",
            server.host_str().unwrap(),
            server.port().unwrap_or(5432),
            server.username(),
            server.password().unwrap_or_default(),
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, text).unwrap();
        // It refuses to run as root.
        for path in [folder.path(), &file] {
            let mode = if path.is_dir() { 0o755 } else { 0o644 };
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut command = Command::new(program());
        if is_root() {
            command.args(["--user", "nobody"]);
        }
        let mut child = command
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let log = || std::fs::read_to_string(folder.path().join("log")).unwrap();
        for _ in 0..500 {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            // Somebody else may have the port.
            if log().contains("listening on") && TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(Self {
                    child,
                    port,
                    _folder: folder,
                });
            }
            SystemClock.sleep(Duration::from_millis(20)).await;
        }
        let _ended = child.kill();
        let _reaped = child.wait();
        let log = log();
        Err((folder, log))
    }

    /// The address of the database behind it.
    pub(crate) fn url(&self, url: &str) -> String {
        let mut behind = Url::parse(url).unwrap();
        behind.set_host(Some("127.0.0.1")).unwrap();
        behind.set_port(Some(self.port)).unwrap();
        behind.to_string()
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Runs openssl in a folder.
fn openssl(folder: &Path, line: &str) {
    let done = Command::new("openssl")
        .args(line.split(' '))
        .current_dir(folder)
        .output()
        .expect("openssl is not installed: sudo apt-get install openssl");
    assert!(
        done.status.success(),
        "openssl {line}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// Makes an authority (`ca.pem`) and a certificate of this name by it (`server.pem`, `server.key`).
pub(crate) fn certificates(folder: &Path, name: &str) {
    std::fs::write(folder.join("names"), format!("subjectAltName=DNS:{name}\n")).unwrap();
    for line in [
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=own-authority -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=server -keyout server.key -out server.csr",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names \
         -out server.pem",
    ] {
        openssl(folder, line);
    }
    for file in ["server.key", "server.pem", "ca.pem"] {
        let path = folder.join(file);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
}
