//! An HTTP server by hyper: `hyper_http [ADDRESS [THREADS]]`.
//!
//! Each thread has a port and an executor of its own, and parks in its port. The first one
//! accepts, and hands out the connections in turn.
//!
//! `GET /` is answered with a line, `GET /bytes/N` with so many bytes, and a `POST` with its
//! own body, as it comes.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use completion_port::{Associated, Iocp};
use completion_port_io::hyper::Timer;
use completion_port_io::{Executor, Stream};
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};

type Answer = Response<Either<Full<Bytes>, Incoming>>;

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
        thread::spawn(move || executor.block_on(std::future::pending::<()>()));
    }
    executors[0].block_on(accept(&listener, &executors))?
}

async fn accept(listener: &Associated<TcpListener>, executors: &[Executor]) -> io::Result<()> {
    let port = executors[0].port();
    for executor in executors.iter().cycle() {
        match port.initiate_accept(listener, ())?.await {
            Ok((_, stream)) => {
                let port = executor.port().clone();
                executor.spawn(serve(port, stream)).detach();
            }
            Err(failed) => {
                eprintln!("a client was not accepted: {failed}");
                port.after(Duration::from_millis(100), ())?.await?;
            }
        }
    }
    Ok(())
}

async fn serve(port: Iocp<()>, stream: TcpStream) {
    let served = async {
        stream.set_nodelay(true)?;
        let stream = Stream::new(&port, stream)?;
        let mut http = http1::Builder::new();
        http.timer(Timer::new(&port)).header_read_timeout(Duration::from_secs(30));
        let connection = http.serve_connection(stream, service_fn(answer));
        connection.await.map_err(io::Error::other)
    };
    if let Err(error) = served.await {
        eprintln!("a connection has failed: {error}");
    }
}

async fn answer(request: Request<Incoming>) -> hyper::Result<Answer> {
    if request.method() == Method::POST {
        return Ok(Response::new(Either::Right(request.into_body())));
    }
    let (status, body) = match request.uri().path() {
        "/" => (StatusCode::OK, "hello from a completion port\n".into()),
        path => match path.strip_prefix("/bytes/").and_then(|size| size.parse().ok()) {
            Some(size) if size <= 1 << 30 => (StatusCode::OK, vec![b'x'; size].into()),
            _ => (StatusCode::NOT_FOUND, "there is nothing here\n".into()),
        },
    };
    let mut response = Response::new(Either::Left(Full::new(body)));
    *response.status_mut() = status;
    Ok(response)
}
