//! hyper on streams of a port.
#![cfg(windows)]
#![cfg(feature = "hyper")]

mod support;

use std::convert::Infallible;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use completion_port::Iocp;
use completion_port_io::hyper::Timer;
use completion_port_io::{Executor, Stream, Task};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Executor as _, Timer as _};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use support::pattern;

/// Answers a POST with its body, and a GET with so many bytes as its path says.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = match *request.method() {
        Method::POST => request.into_body().collect().await?.to_bytes(),
        _ => pattern(request.uri().path()[1..].parse().unwrap()).into(),
    };
    Ok(Response::new(Full::new(body)))
}

/// A server on a thread that parks in a port of its own, for so many connections.
fn serve(connections: usize) -> (SocketAddr, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let port = Iocp::typed().unwrap();
        let listener = port.add_handle(listener, 0).unwrap();
        let executor = Executor::new(&port);
        executor
            .block_on(async {
                let mut tasks = Vec::new();
                for _ in 0..connections {
                    let (_, stream) = port.initiate_accept(&listener, ()).unwrap().await.unwrap();
                    let stream = Stream::new(&port, stream).unwrap();
                    let mut http = http1::Builder::new();
                    http.timer(Timer::new(&port)).header_read_timeout(Duration::from_millis(300));
                    tasks.push(executor.spawn(http.serve_connection(stream, service_fn(answer))));
                }
                for task in tasks {
                    // One that is too slow ends with an error.
                    let _ = task.await;
                }
            })
            .unwrap();
    });
    (address, server)
}

/// Gets so many bytes as a client that closes the connection then.
fn get(address: SocketAddr, size: usize) {
    let mut client = TcpStream::connect(address).unwrap();
    write!(client, "GET /{size} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(answer.ends_with(&[b"\r\n\r\n", &pattern(size)[..]].concat()), "other bytes");
}

#[test]
fn hypers_client_and_server_exchange_bodies_of_all_sizes() {
    let (address, server) = serve(1);
    let executor = Executor::new(&Iocp::typed().unwrap());
    let exchange = async {
        let stream = Stream::connect(executor.port(), address).await.unwrap();
        let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        executor.execute(async move { connection.await.unwrap() });
        for size in [0, 1, 1000, 70_000, 3_000_000] {
            let body = Full::new(Bytes::from(pattern(size)));
            let request = Request::post("/").header("host", "here").body(body).unwrap();
            let response = client.send_request(request).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(body == pattern(size), "other bytes");
        }
    };
    executor.block_on(exchange).unwrap();
    drop(executor);
    server.join().unwrap();
}

#[test]
fn a_client_of_the_standard_library_is_served() {
    let (address, server) = serve(2);
    get(address, 10);
    get(address, 500_000);
    server.join().unwrap();
}

#[test]
fn a_client_that_does_not_finish_its_request_is_given_up_by_the_timer() {
    let (address, server) = serve(1);
    let start = Instant::now();
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET /10 HT").unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300));
    server.join().unwrap();
}

#[test]
fn a_client_that_goes_away_ends_its_connection_only() {
    let (address, server) = serve(2);
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET /20000000 HTTP/1.1\r\nhost: here\r\n\r\n").unwrap();
    client.read_exact(&mut [0; 1000]).unwrap();
    drop(client);
    get(address, 5);
    server.join().unwrap();
}

#[test]
fn a_sleep_can_be_put_off_and_ends_with_its_port() {
    let port = Iocp::typed().unwrap();
    let timer = Timer::new(&port);
    let start = Instant::now();
    let mut sleep = timer.sleep(Duration::from_secs(3600));
    timer.reset(&mut sleep, start + Duration::from_millis(20));
    port.block_on(&mut sleep).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(20));
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(sleep.as_mut().poll(&mut context), Poll::Ready(()));

    let mut endless = timer.sleep(Duration::MAX);
    assert_eq!(Pin::new(&mut endless).poll(&mut context), Poll::Pending);
    port.close();
    port.block_on(endless).unwrap();
    port.block_on(timer.sleep(Duration::from_secs(3600))).unwrap();
}

#[test]
fn a_panic_of_a_task_ends_that_task_and_goes_on_in_who_awaits_it() {
    let executor = Executor::new(&Iocp::typed().unwrap());
    executor.spawn(async { panic!("detached") }).detach();
    let awaited = executor.spawn(async { panic!("awaited") });
    let other = executor.spawn(async { 7 });
    assert_eq!(executor.block_on(other).unwrap(), 7);
    let unwound = panic::catch_unwind(AssertUnwindSafe(|| executor.block_on::<Task<()>>(awaited)));
    assert_eq!(unwound.unwrap_err().downcast_ref(), Some(&"awaited"));
    assert_eq!(executor.block_on(executor.spawn(async { 8 })).unwrap(), 8);
}

#[test]
fn tasks_run_on_the_threads_that_park_in_the_port() {
    let executor = Executor::new(&Iocp::typed().unwrap());
    let this = thread::current().id();
    let task = executor.spawn(async move { thread::current().id() == this });
    assert!(executor.block_on(task).unwrap());
    let (sender, receiver) = std::sync::mpsc::channel();
    executor.spawn(async move { sender.send(()).unwrap() }).detach();
    executor.block_on(async { Ok::<_, Infallible>(()) }).unwrap().unwrap();
    drop(executor);
    let _ = receiver.try_recv(); // run, or dropped with the executor
    assert!(receiver.try_recv().is_err());
}
