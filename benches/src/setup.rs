//! Creates the znodes a load needs, over one blocking connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::jute::{Reader, error_code, opcode, put_frame, put_i32};
use crate::limits::FRAME_SIZE_MAX;
use crate::load::Load;
use crate::options::Options;
use crate::session::{put_handshake, read_handshake};
use crate::template::{CreateMode, PathPattern, Template};

/// Requests sent before their replies are read.
const BATCH: u64 = 500;

/// Creates the folder of the run and what its load reads or writes, with data of the right size.
pub fn prepare(options: &Options) -> Result<(), String> {
    let mut client = Client::connect(options.hosts[0], options.session_timeout())?;
    let names = options.names();
    let data = options.data();
    client.create_folder(names.root())?;
    let load = options.load();
    if load.uses_keys() {
        client.put_all(&names.keys(), options.keys, &data)?;
    }
    if load == Load::Children {
        client.create_folder(&names.folder().path(0))?;
        client.put_all(&names.folder_children(), options.children, b"")?;
    }
    if load == Load::Watch {
        client.put_all(&names.watched(), options.connections as u64, &data)?;
    }
    client.close()
}

/// Creates the folder of the run and the numbered znodes, whatever the load.
pub fn prepare_keys(options: &Options) -> Result<(), String> {
    let mut client = Client::connect(options.hosts[0], options.session_timeout())?;
    let names = options.names();
    client.create_folder(names.root())?;
    client.put_all(&names.keys(), options.keys, &options.data())?;
    client.close()
}

/// Creates the folder of the run only.
pub fn prepare_root(options: &Options) -> Result<(), String> {
    let mut client = Client::connect(options.hosts[0], options.session_timeout())?;
    client.create_folder(options.names().root())?;
    client.close()
}

/// Opens a session and asks for the root's stat: the server serves.
pub fn probe(address: SocketAddr, timeout: Duration) -> Result<(), String> {
    let mut client = Client::connect(address, timeout)?;
    client.send(&Template::exists(&PathPattern::fixed("/")), 0);
    match client.reply()? {
        error_code::OK => client.close(),
        code => Err(format!("{} ({code})", error_code::name(code))),
    }
}

/// A blocking client that knows just enough to prepare.
struct Client {
    socket: TcpStream,
    out: Vec<u8>,
}

impl Client {
    fn connect(address: SocketAddr, timeout: Duration) -> Result<Self, String> {
        let open = || -> std::io::Result<TcpStream> {
            let socket = TcpStream::connect_timeout(&address, timeout)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(timeout))?;
            socket.set_write_timeout(Some(timeout))?;
            Ok(socket)
        };
        let socket = open().map_err(|error| format!("{address}: {error}"))?;
        let mut client = Self { socket, out: Vec::new() };
        put_handshake(&mut client.out, timeout);
        let answer = client.frame()?;
        read_handshake(&answer).map_err(|lost| format!("{address}: {lost}"))?;
        Ok(client)
    }

    /// Creates every folder of `path` that does not exist.
    fn create_folder(&mut self, path: &str) -> Result<(), String> {
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
        for end in ends {
            let folder = PathPattern::fixed(&path[..end]);
            self.send(&Template::create(&folder, b"", CreateMode::Persistent), 0);
            match self.reply()? {
                error_code::OK | error_code::NODE_EXISTS => {}
                code => return Err(format!("create {}: {} ({code})", &path[..end], error_code::name(code))),
            }
        }
        Ok(())
    }

    /// Creates numbered znodes, and gives those that exist the right data.
    fn put_all(&mut self, path: &PathPattern, count: u64, data: &[u8]) -> Result<(), String> {
        let create = Template::create(path, data, CreateMode::Persistent);
        let set_data = Template::set_data(path, data);
        for start in (0..count).step_by(BATCH as usize) {
            let numbers: Vec<u64> = (start..count.min(start + BATCH)).collect();
            let exist = self.batch(&create, &numbers, error_code::NODE_EXISTS)?;
            self.batch(&set_data, &exist, error_code::OK)?;
        }
        Ok(())
    }

    /// Sends one request a number and returns the numbers that were answered with `tolerated` instead of success.
    fn batch(&mut self, request: &Template, numbers: &[u64], tolerated: i32) -> Result<Vec<u64>, String> {
        for &number in numbers {
            self.send(request, number);
        }
        let mut others = Vec::new();
        for &number in numbers {
            match self.reply()? {
                error_code::OK => {}
                code if code == tolerated => others.push(number),
                code => return Err(format!("preparing: {} ({code})", error_code::name(code))),
            }
        }
        Ok(others)
    }

    fn close(mut self) -> Result<(), String> {
        put_frame(&mut self.out, |body| {
            put_i32(body, 0);
            put_i32(body, opcode::CLOSE_SESSION);
        });
        self.reply().map(|_| ())
    }

    fn send(&mut self, request: &Template, number: u64) {
        request.append(&mut self.out, 0, || number);
    }

    /// The result code of the next reply.
    fn reply(&mut self) -> Result<i32, String> {
        let frame = self.frame()?;
        let mut reader = Reader::new(&frame);
        let code = reader.i32().and_then(|_| reader.i64()).and_then(|_| reader.i32());
        code.map_err(|_| "malformed reply".into())
    }

    /// Sends what is waiting and reads one frame.
    fn frame(&mut self) -> Result<Vec<u8>, String> {
        let mut step = || -> std::io::Result<Vec<u8>> {
            self.socket.write_all(&self.out)?;
            self.out.clear();
            let mut size = [0; 4];
            self.socket.read_exact(&mut size)?;
            let size = u32::from_be_bytes(size) as usize;
            if size > FRAME_SIZE_MAX {
                return Err(std::io::ErrorKind::InvalidData.into());
            }
            let mut frame = vec![0; size];
            self.socket.read_exact(&mut frame)?;
            Ok(frame)
        };
        step().map_err(|error| format!("preparing: {error}"))
    }
}
