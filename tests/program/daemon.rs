//! A stand-in for tailscaled, on a socket of its own. It lives as long as the test's process.

use serde_json::json;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What answers on the socket.
pub(crate) struct Daemon {
    asked: Arc<AtomicUsize>,
    mood: Arc<Mutex<Mood>>,
}

/// What it does with a question.
#[derive(Clone, Copy)]
pub(crate) enum Mood {
    /// Says whose address it is.
    Knows(&'static str),
    /// Does not know the address.
    Ignorant,
    /// Answers, and not in HTTP.
    Babbles,
    /// Takes the question, and says nothing.
    Silent,
}

impl Daemon {
    /// Answers as [`Mood::Ignorant`] from now on.
    pub(crate) fn listen(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let (asked, mood) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Mood::Ignorant)));
        let (count, says) = (Arc::clone(&asked), Arc::clone(&mood));
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    request.push(byte[0]);
                }
                let request = String::from_utf8(request).unwrap();
                assert!(request.contains("\r\nHost: local-tailscaled.sock\r\n"), "{request}");
                if request.starts_with("GET /localapi/v0/whois?addr=100.64.0.7:0 ") {
                    count.fetch_add(1, Ordering::SeqCst);
                }
                let mood = *says.lock().unwrap();
                let answer = match mood {
                    Mood::Knows(login) => {
                        let body = json!({"Node": {"ID": 1}, "UserProfile": {"ID": 1, "LoginName": login}})
                            .to_string();
                        format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                    }
                    Mood::Ignorant => "HTTP/1.0 404 Not Found\r\n\r\nno match for IP:port\n".to_owned(),
                    Mood::Babbles => "ada@example, believe me".to_owned(),
                    Mood::Silent => {
                        kept.push(stream);
                        continue;
                    }
                };
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { asked, mood }
    }

    /// From now on.
    pub(crate) fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// How often it was asked about `100.64.0.7`.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
