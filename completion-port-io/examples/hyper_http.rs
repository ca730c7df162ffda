//! An HTTP server by hyper: `hyper_http [ADDRESS [THREADS]]`.
//!
//! Each thread has a port and an executor of its own, and parks in its port. The first one
//! accepts, and hands out the connections in turn.
//!
//! `GET /` is answered with a line, `GET /bytes/N` with so many bytes, and a `POST` with its
//! own body, as it comes, of 1 GiB at most.

use std::convert::Infallible;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use std::{future, io, process, thread};

use completion_port::{Associated, Error, ErrorKind, Iocp};
use completion_port_io::hyper::Timer;
use completion_port_io::{Executor, Stream};
use http_body_util::{Either, Full, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};

type Answer = Response<Either<Full<Bytes>, Limited<Incoming>>>;

/// How long a head may be, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// How long a body may be, of a request or an answer, in bytes.
const MAX_BODY: usize = 1 << 30;

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or("127.0.0.1:8080".into());
    let threads = args.next().map_or(Ok(1), |it| it.parse()).map_err(io::Error::other)?;
    let executor = || Ok(Executor::new(&Iocp::typed()?));
    let executors = (0..threads.max(1)).map(|_| executor()).collect::<io::Result<Vec<_>>>()?;

    let listener = executors[0].port().add_handle(TcpListener::bind(address)?, 0)?;
    println!("listening on {}", listener.get_ref().local_addr()?);
    for executor in &executors[1..] {
        let executor = executor.clone();
        thread::spawn(move || {
            let Err(error) = executor.block_on(future::pending::<Infallible>());
            // Its connections would wait for ever.
            eprintln!("a thread cannot go on: {error}");
            process::exit(1)
        });
    }
    executors[0].block_on(serve_all(&listener, &executors))?
}

/// Serves clients as long as the port is open.
async fn serve_all(listener: &Associated<TcpListener>, executors: &[Executor]) -> io::Result<()> {
    let port = executors[0].port();
    for executor in executors.iter().cycle() {
        match accept(port, listener).await {
            Ok(stream) => executor.spawn(serve(executor.port().clone(), stream)).detach(),
            // The client has gone already.
            Err(error) if is_clients(error.kind()) => {}
            Err(error) => {
                eprintln!("cannot accept: {error}");
                port.after(Duration::from_millis(100), ())?.await?;
            }
        }
    }
    Ok(())
}

/// Accepts a client. It is one error whether the system says so at once or later.
async fn accept(port: &Iocp<()>, listener: &Associated<TcpListener>) -> Result<TcpStream, Error> {
    let (_, stream) = port.initiate_accept(listener, ())?.await?;
    Ok(stream)
}

fn is_clients(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
}

async fn serve(port: Iocp<()>, stream: TcpStream) {
    let served = async {
        stream.set_nodelay(true)?;
        let stream = Stream::new(&port, stream)?;
        let mut http = http1::Builder::new();
        http.timer(Timer::new(&port)).header_read_timeout(Duration::from_secs(30));
        http.max_buf_size(MAX_HEAD);
        let connection = http.serve_connection(stream, service_fn(answer));
        connection.await.map_err(io::Error::other)
    };
    if let Err(error) = served.await {
        eprintln!("a connection has failed: {error}");
    }
}

async fn answer(request: Request<Incoming>) -> hyper::Result<Answer> {
    let (status, body) = match request.uri().path() {
        _ if request.body().size_hint().lower() > MAX_BODY as u64 => {
            (StatusCode::PAYLOAD_TOO_LARGE, "the body is too long\n".into())
        }
        _ if request.method() == Method::POST => {
            let body = Limited::new(request.into_body(), MAX_BODY);
            return Ok(Response::new(Either::Right(body)));
        }
        "/" => (StatusCode::OK, "hello from a completion port\n".into()),
        path => match path.strip_prefix("/bytes/").and_then(|size| size.parse().ok()) {
            Some(size) if size <= MAX_BODY => (StatusCode::OK, vec![b'x'; size].into()),
            _ => (StatusCode::NOT_FOUND, "there is nothing here\n".into()),
        },
    };
    let mut response = Response::new(Either::Left(Full::new(body)));
    *response.status_mut() = status;
    Ok(response)
}
