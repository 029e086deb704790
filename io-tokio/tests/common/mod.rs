//! A client of a few lines, so that these tests depend on nothing they test; and the program, started and stopped.
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A session over a plain socket.
pub struct Client {
    pub socket: TcpStream,
    pub session: i64,
    pub timeout_ms: i32,
}

/// A socket that gives up instead of hanging.
pub fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("the server listens");
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// The bytes that ask for a new session.
pub fn hello(timeout_ms: i32) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&0_i32.to_be_bytes());
    body.extend_from_slice(&0_i64.to_be_bytes());
    body.extend_from_slice(&timeout_ms.to_be_bytes());
    body.extend_from_slice(&0_i64.to_be_bytes());
    body.extend_from_slice(&16_i32.to_be_bytes());
    body.extend_from_slice(&[0; 17]);
    frame(&body)
}

/// A body behind its length.
pub fn frame(body: &[u8]) -> Vec<u8> {
    let mut bytes = i32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

/// A request: header and body, framed.
pub fn request(xid: i32, op: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = xid.to_be_bytes().to_vec();
    bytes.extend_from_slice(&op.to_be_bytes());
    bytes.extend_from_slice(body);
    frame(&bytes)
}

/// A string as jute has it.
pub fn string(text: &str) -> Vec<u8> {
    frame(text.as_bytes())
}

/// `getData` without a watch.
pub fn get_data(xid: i32, path: &str) -> Vec<u8> {
    let mut body = string(path);
    body.push(0);
    request(xid, 4, &body)
}

/// `create`, open to everyone.
pub fn create(xid: i32, path: &str, data: &[u8]) -> Vec<u8> {
    let mut body = string(path);
    body.extend_from_slice(&frame(data));
    body.extend_from_slice(&1_i32.to_be_bytes());
    body.extend_from_slice(&31_i32.to_be_bytes());
    body.extend_from_slice(&string("world"));
    body.extend_from_slice(&string("anyone"));
    body.extend_from_slice(&0_i32.to_be_bytes());
    request(xid, 1, &body)
}

/// Reads one frame.
pub fn read_frame(socket: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let mut body = vec![0; usize::try_from(i32::from_be_bytes(length)).expect("a length")];
    socket.read_exact(&mut body)?;
    Ok(body)
}

pub fn int(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub fn long(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}

impl Client {
    /// Opens a session.
    pub fn open(address: SocketAddr) -> Self {
        let mut socket = connect(address);
        socket.write_all(&hello(30_000)).unwrap();
        let answer = read_frame(&mut socket).expect("a handshake");
        assert_eq!(answer.len(), 37, "protocol, timeout, session, password, read-only");
        Self { socket, session: long(&answer, 8), timeout_ms: int(&answer, 4) }
    }

    /// Reads a reply: xid, error, body.
    pub fn reply(&mut self) -> io::Result<(i32, i32, Vec<u8>)> {
        let frame = read_frame(&mut self.socket)?;
        Ok((int(&frame, 0), int(&frame, 12), frame[16..].to_vec()))
    }
}

/// `zabra`, running.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
}

/// The program, not started.
pub fn zabra(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zabra"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

impl Process {
    /// Starts a server on any free port, with its data in `data`, and waits until it says where it serves.
    pub fn start(data: &std::path::Path) -> Self {
        let mut child =
            zabra(&["server", "0", data.to_str().unwrap()]).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.trim().strip_prefix("serving   port ")?.split(' ').next()?.parse().ok())
            .expect("the banner names the port");
        // Nobody else reads it, and a full pipe would stop the server.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success());
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it is still there.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Memory that it really has, in bytes.
    pub fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
