//! A broker reduced to its answers, for what no mosquitto can be made to say.

use std::collections::VecDeque;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What it answers.
#[derive(Debug, Clone)]
pub struct Answers {
    /// To CONNECT, as bytes. What does not accept ends the connection.
    pub connect: Vec<u8>,
    /// To each filter of a SUBSCRIBE.
    pub subscribe: fn(&str) -> u8,
    /// To a QoS 1 publish on a topic. `None`: nothing until a PINGREQ comes, and then everything.
    pub publish: fn(&str) -> Option<u8>,
    /// What follows the answer to the first SUBSCRIBE.
    pub afterwards: Vec<u8>,
}

/// Accepts everything.
pub const CONNACK: [u8; 5] = [0x20, 3, 0, 0, 0];

impl Default for Answers {
    fn default() -> Self {
        let subscribe = |_: &str| 1;
        Self { connect: CONNACK.to_vec(), subscribe, publish: |_| Some(0), afterwards: Vec::new() }
    }
}

/// A packet as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    Connect,
    /// Filters in order.
    Subscribe(Vec<String>),
    /// A publish with QoS 1, and how many were without an answer then, itself counted.
    Publish(String, usize),
    Ping,
    End,
}

pub struct FakeBroker {
    pub port: u16,
    pub came: mpsc::UnboundedReceiver<Came>,
    _task: JoinSet<()>,
}

impl FakeBroker {
    pub async fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let (sender, came) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let _ = serve(socket, &answers, &sender).await;
                let _ = sender.send(Came::End);
            }
        });
        Self { port, came, _task: task }
    }
}

async fn serve(
    mut socket: TcpStream,
    answers: &Answers,
    came: &mpsc::UnboundedSender<Came>,
) -> std::io::Result<()> {
    let mut unanswered: VecDeque<[u8; 2]> = VecDeque::new();
    let mut afterwards = answers.afterwards.clone();
    loop {
        let (kind, body) = packet(&mut socket).await?;
        let answer = match kind >> 4 {
            1 => {
                let _ = came.send(Came::Connect);
                answers.connect.clone()
            }
            3 if kind & 0b110 == 0b010 => {
                let (topic, rest) = text(&body);
                let id = [rest[0], rest[1]];
                unanswered.push_back(id);
                let _ = came.send(Came::Publish(topic.clone(), unanswered.len()));
                let reason = (answers.publish)(&topic);
                let done = reason.map(|reason| (reason, unanswered.pop_back()));
                done.map_or_else(Vec::new, |(reason, _)| vec![0x40, 3, id[0], id[1], reason])
            }
            8 => {
                let mut rest = &body[3 + usize::from(body[2])..];
                let (mut filters, mut codes) = (Vec::new(), Vec::new());
                while !rest.is_empty() {
                    let (filter, more) = text(rest);
                    codes.push((answers.subscribe)(&filter));
                    filters.push(filter);
                    rest = &more[1..];
                }
                let _ = came.send(Came::Subscribe(filters));
                let length = u8::try_from(3 + codes.len()).expect("few filters");
                let mut answer = [&[0x90, length, body[0], body[1], 0], codes.as_slice()].concat();
                answer.append(&mut afterwards);
                answer
            }
            12 => {
                let _ = came.send(Came::Ping);
                let mut answer = vec![0xD0, 0];
                for id in unanswered.drain(..) {
                    answer.extend([0x40, 2, id[0], id[1]]);
                }
                answer
            }
            14 => return Ok(()),
            _ => Vec::new(),
        };
        socket.write_all(&answer).await?;
    }
}

async fn packet(socket: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let kind = socket.read_u8().await?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = socket.read_u8().await?;
        length |= usize::from(byte & 0x7F) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await?;
    Ok((kind, body))
}

/// A text with its length before it, and what follows.
fn text(bytes: &[u8]) -> (String, &[u8]) {
    let end = 2 + usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    (String::from_utf8_lossy(&bytes[2..end]).into_owned(), &bytes[end..])
}
