//! HTTP/1.1 in the size that the stories need: one request a connection, bodies of a stated
//! length or in chunks, a server that gives each connection a thread.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a peer may say nothing: longer than the longest function runs (900 s).
const SILENCE: Duration = Duration::from_secs(930);

/// The largest body that is taken: far above Lambda's 6 MB and any archive of a function.
const MAX_BODY: usize = 1 << 30;

/// Header fields, their names in lower case.
pub type Headers = Vec<(String, String)>;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// Such as `POST`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Those that describe the transfer are not sent, `host` instead of the address.
    pub headers: Headers,
    /// The body, as it travelled.
    pub body: Vec<u8>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: Headers,
    /// The body, as it travelled.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without a body.
    pub fn get(target: &str) -> Self {
        Self {
            method: "GET".to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A request with one.
    pub fn post(target: &str, body: Vec<u8>) -> Self {
        Self {
            method: "POST".to_owned(),
            body,
            ..Self::get(target)
        }
    }

    /// The same with one more header field.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

impl Response {
    /// An answer without header fields.
    pub fn new(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
        }
    }

    /// A header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

fn find<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(other, _)| other.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// Sends one request to `host:port`.
///
/// # Errors
/// What the connection says, and `InvalidData` for what is not HTTP.
pub fn send(address: &str, request: &Request) -> io::Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let host = request.header("host").unwrap_or(address);
    let mut head = format!(
        "{} {} HTTP/1.1\r\nhost: {host}\r\n",
        request.method, request.target
    );
    write_head(&mut head, &request.headers, request.body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&request.body)?;
    let mut reader = BufReader::new(stream);
    let first = line(&mut reader)?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| invalid(&format!("status line {first:?}")))?;
    let headers = read_headers(&mut reader)?;
    let body = read_body(&mut reader, &headers, true)?;
    Ok(Response {
        status,
        headers,
        body,
    })
}

/// A server on a free port of one address; ends with its value.
pub struct Server {
    at: SocketAddr,
    ending: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves on loopback.
    ///
    /// # Errors
    /// No free port.
    pub fn start<H>(handler: H) -> io::Result<Self>
    where
        H: Fn(&Request) -> Response + Send + Sync + 'static,
    {
        Self::answering("127.0.0.1:0", move |request| Some(handler(request)))
    }

    /// Serves on an address. `None` drops the connection without an answer.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn answering<H>(address: &str, handler: H) -> io::Result<Self>
    where
        H: Fn(&Request) -> Option<Response> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind(address)?;
        let at = listener.local_addr()?;
        let ending = Arc::new(AtomicBool::new(false));
        let (seen, handler) = (Arc::clone(&ending), Arc::new(handler));
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::SeqCst) {
                    return;
                }
                let handler = Arc::clone(&handler);
                std::thread::spawn(move || {
                    // A peer that went away is its own affair.
                    let _ = stream.and_then(|stream| serve(stream, &*handler));
                });
            }
        });
        Ok(Self {
            at,
            ending,
            accepting: Some(accepting),
        })
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        self.at.to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; not where the address is gone, as with a bridge.
        let woken = TcpStream::connect_timeout(&self.at, Duration::from_secs(5)).is_ok();
        if let Some(accepting) = self.accepting.take().filter(|_| woken) {
            let _ = accepting.join();
        }
    }
}

fn serve(stream: TcpStream, handler: &dyn Fn(&Request) -> Option<Response>) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    let mut reader = BufReader::new(stream);
    let first = line(&mut reader)?;
    let mut words = first.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(invalid(&format!("request line {first:?}")));
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    let headers = read_headers(&mut reader)?;
    if find(&headers, "expect").is_some() {
        reader
            .get_mut()
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let body = read_body(&mut reader, &headers, false)?;
    let answer = handler(&Request {
        method,
        target,
        headers,
        body,
    });
    let Some(answer) = answer else { return Ok(()) };
    let mut head = format!("HTTP/1.1 {} -\r\n", answer.status);
    write_head(&mut head, &answer.headers, answer.body.len());
    let stream = reader.get_mut();
    stream.write_all(head.as_bytes())?;
    stream.write_all(&answer.body)
}

/// The fields that describe the transfer are ours; all others go as they are.
fn write_head(head: &mut String, headers: &Headers, length: usize) {
    const OURS: [&str; 5] = [
        "host",
        "content-length",
        "connection",
        "transfer-encoding",
        "expect",
    ];
    for (name, value) in headers {
        if !OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str(&format!(
        "content-length: {length}\r\nconnection: close\r\n\r\n"
    ));
}

fn read_headers(reader: &mut impl BufRead) -> io::Result<Headers> {
    let mut headers = Headers::new();
    loop {
        let line = line(reader)?;
        if line.is_empty() {
            return Ok(headers);
        }
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| invalid(&format!("header line {line:?}")))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_body(
    reader: &mut impl BufRead,
    headers: &Headers,
    to_the_end: bool,
) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if find(headers, "transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        loop {
            let size = line(reader)?;
            let size = usize::from_str_radix(size.split(';').next().unwrap_or_default(), 16)
                .ok()
                .filter(|size| body.len() + size <= MAX_BODY)
                .ok_or_else(|| invalid("chunk size"))?;
            let begun = body.len();
            body.resize(begun + size, 0);
            reader.read_exact(&mut body[begun..])?;
            line(reader)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    match find(headers, "content-length") {
        Some(length) => {
            let length = length.parse().ok().filter(|length| *length <= MAX_BODY);
            body.resize(length.ok_or_else(|| invalid("content-length"))?, 0);
            reader.read_exact(&mut body)?;
        }
        None if to_the_end => {
            reader.take(MAX_BODY as u64).read_to_end(&mut body)?;
        }
        None => {}
    }
    Ok(body)
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    /// Tokens and signatures make long lines.
    const MAX_LINE: u64 = 64 << 10;
    let mut text = String::new();
    reader.take(MAX_LINE).read_line(&mut text)?;
    match text.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(invalid("a line without an end")),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
