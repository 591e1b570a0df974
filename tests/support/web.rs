//! A small client for HTTP and WebSockets over a plain socket, so that tests can also say what no good client would.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// A response.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// `status reason`, of a problem.
    #[track_caller]
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
        let body = self.json();
        assert_eq!(body["status"], self.status, "{body}");
        format!("{} {}", self.status, body["reason"].as_str().expect("a reason"))
    }

    /// Reads a response from the first byte to the end of the connection.
    #[track_caller]
    fn parse(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no response: {:?}", String::from_utf8_lossy(bytes)));
        let head = std::str::from_utf8(&bytes[..end]).expect("a head");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
        let header = |line: &str| {
            let (name, value) = line.split_once(':').expect("a header");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Answer { status, headers: lines.map(header).collect(), body: bytes[end + 4..].to_vec() }
    }
}

/// A server on the loopback.
#[derive(Debug, Clone, Copy)]
pub struct Web {
    pub port: u16,
}

impl Web {
    pub async fn connect(self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.expect("a connection")
    }

    /// Sends these bytes and reads until the server closes.
    pub async fn raw(self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        // The server may close before it has read all.
        let _ = stream.write_all(bytes).await;
        let mut read = Vec::new();
        let ended =
            timeout(PATIENCE, stream.read_to_end(&mut read)).await.expect("timed out: the server's end");
        assert!(ended.is_ok() || !read.is_empty(), "{ended:?}");
        read
    }

    /// One request on a connection of its own.
    pub async fn ask(self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            text += &format!("host: 127.0.0.1:{}\r\n", self.port);
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            text += &format!("content-length: {}\r\n", body.len());
        }
        Answer::parse(&self.raw(format!("{text}\r\n{body}").as_bytes()).await)
    }

    pub async fn get(self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// With a token.
    pub async fn send(self, method: &str, path: &str, token: &str, body: &str) -> Answer {
        self.ask(method, path, &[("authorization", &format!("Bearer {token}"))], body).await
    }

    /// Opens a stream, or gets a response instead.
    pub async fn stream(self, path: &str, headers: &[(&str, &str)]) -> Result<Socket, Answer> {
        self.stream_on(self.connect().await, path, headers).await
    }

    /// Opens a stream for which the system keeps so many bytes that nobody reads.
    pub async fn stream_with_room(self, path: &str, bytes: u32) -> Socket {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a size");
        let address = ([127, 0, 0, 1], self.port).into();
        let stream = socket.connect(address).await.expect("a connection");
        self.stream_on(stream, path, &[]).await.expect("a stream")
    }

    async fn stream_on(
        self,
        mut stream: TcpStream,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Socket, Answer> {
        let mut text = format!(
            "GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            self.port
        );
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{text}\r\n").as_bytes()).await.expect("a request");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = timeout(PATIENCE, stream.read_u8()).await.expect("timed out: a head").expect("a head");
            head.push(byte);
        }
        let mut answer = Answer::parse(&head);
        if answer.status == 101 {
            return Ok(Socket { stream, accepted: answer });
        }
        let length = answer.header("content-length").parse().expect("a length");
        answer.body.resize(length, 0);
        stream.read_exact(&mut answer.body).await.expect("a body");
        Err(answer)
    }
}

/// The client's end of a WebSocket.
pub struct Socket {
    stream: TcpStream,
    pub accepted: Answer,
}

impl Socket {
    /// The next frame: its kind and its content. Frames of this server are small and whole.
    pub async fn frame(&mut self) -> (u8, Vec<u8>) {
        let read = async {
            let kind = self.stream.read_u8().await?;
            let length = match self.stream.read_u8().await? {
                126 => usize::from(self.stream.read_u16().await?),
                127 => usize::try_from(self.stream.read_u64().await?).expect("a length"),
                length => usize::from(length),
            };
            let mut content = vec![0; length];
            self.stream.read_exact(&mut content).await?;
            std::io::Result::Ok((kind & 0xf, content))
        };
        timeout(PATIENCE, read).await.expect("timed out: a frame").expect("a frame")
    }

    /// The next text, as JSON; pings are answered.
    pub async fn json(&mut self) -> Value {
        loop {
            match self.frame().await {
                (1, text) => return serde_json::from_slice(&text).expect("JSON"),
                (9, _) => self.say(10, b"").await,
                (kind, content) => panic!("frame {kind}: {:?}", String::from_utf8_lossy(&content)),
            }
        }
    }

    /// Reads until a message of this topic.
    pub async fn until(&mut self, topic: &str) -> Value {
        loop {
            let message = self.json().await;
            if message["topic"] == topic {
                return message;
            }
        }
    }

    /// The code and the words of the server's close.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            let (kind, content) = self.frame().await;
            if kind == 8 {
                let code = u16::from_be_bytes([content[0], content[1]]);
                return (code, String::from_utf8_lossy(&content[2..]).into_owned());
            }
        }
    }

    /// Reads to the end: the code and the words of a close, or nothing when the connection is just gone.
    pub async fn ended(&mut self) -> Option<(u16, String)> {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("timed out: the end");
        let mut frames = rest.as_slice();
        loop {
            let (kind, mut length) = (frames.first()? & 0xf, usize::from(*frames.get(1)?));
            let mut start = 2;
            if length == 126 {
                length = usize::from(u16::from_be_bytes([*frames.get(2)?, *frames.get(3)?]));
                start = 4;
            }
            let content = frames.get(start..start + length)?;
            if kind == 8 {
                let code = u16::from_be_bytes([*content.first()?, *content.get(1)?]);
                return Some((code, String::from_utf8_lossy(&content[2..]).into_owned()));
            }
            frames = &frames[start + length..];
        }
    }

    /// Sends a frame of this kind, masked as clients must.
    pub async fn say(&mut self, kind: u8, content: &[u8]) {
        let length = u8::try_from(content.len()).ok().filter(|length| *length < 126).expect("a short one");
        let frame = [&[0x80 | kind, 0x80 | length, 0, 0, 0, 0], content].concat();
        self.stream.write_all(&frame).await.expect("a connection");
    }
}
