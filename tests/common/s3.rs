//! A server that speaks S3's protocol, on the loopback interface: `moto_server`, where it is installed.
#![cfg(feature = "s3")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use thalweg::checkpoint::ObjectStore;

/// It takes some seconds to start on a busy machine.
const START: Duration = Duration::from_secs(60);

const BUCKET: &str = "checkpoints";

/// Ends with this.
pub struct Server {
    process: Child,
    pub port: u16,
}

impl Server {
    /// Starts one with an empty bucket; `None`, with a notice, where there is none to be had.
    pub fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("moto_server");
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(process) = command.spawn() else {
            eprintln!("skipped: moto_server is not installed (`pip install 'moto[server]'`)");
            return None;
        };
        let mut server = Server { process, port };
        let begin = Instant::now();
        while begin.elapsed() < START && server.process.try_wait().unwrap().is_none() {
            if server.make_bucket().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        eprintln!("skipped: moto_server does not start");
        None
    }

    fn make_bucket(&self) -> std::io::Result<String> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        let request =
            format!("PUT /{BUCKET} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes())?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().and_then(|()| self.process.wait()).unwrap();
    }
}

fn builder(bucket: &str, port: u16) -> AmazonS3Builder {
    AmazonS3Builder::new()
        .with_endpoint(format!("http://127.0.0.1:{port}"))
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_bucket_name(bucket)
        .with_access_key_id("test")
        .with_secret_access_key("testtest")
}

/// A store in the server's bucket.
pub fn store(port: u16, prefix: &str) -> ObjectStore {
    in_bucket(BUCKET, port, prefix)
}

pub fn in_bucket(bucket: &str, port: u16, prefix: &str) -> ObjectStore {
    ObjectStore::new(Arc::new(builder(bucket, port).build().unwrap()), prefix).unwrap()
}

/// As if the server knew no conditional requests.
pub fn unconditional(port: u16, prefix: &str) -> ObjectStore {
    let builder = builder(BUCKET, port).with_conditional_put(S3ConditionalPut::Disabled);
    ObjectStore::new(Arc::new(builder.build().unwrap()), prefix).unwrap()
}
