//! A server of a message pipe, on one thread: `message_pipe [NAME]`.
//!
//! Each message is answered by itself in capitals. When the input ends (Ctrl-Z and Enter), the
//! server stops: a message that has been sent is still answered, because the reads are awaited
//! by reference in `select!`, which so loses none. A client that does not read its answers is
//! given up after a while.

use std::io;
use std::os::windows::io::OwnedHandle;
use std::thread;
use std::time::Duration;

use completion_port::{Associated, Error, ErrorKind, Iocp, op, pipe};
use completion_port_io::Executor;
use tokio::sync::watch;

const INSTANCES: usize = 4;
const LONGEST: usize = 4096;
/// How long a client may take to make room for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

fn main() -> io::Result<()> {
    let name = std::env::args().nth(1).unwrap_or("completion-port-example".into());
    let name = format!(r"\\.\pipe\{name}");
    let (stop, stopped) = watch::channel(());
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        drop(stop);
    });
    let port = Iocp::typed()?;
    let executor = Executor::new(&port);
    let options = pipe::ServerOptions::new().messages(true);
    let mut instances = Vec::new();
    for instance in 0..INSTANCES {
        let pipe = if instance == 0 { options.create(&name) } else { options.create_next(&name) };
        let pipe = port.add_handle(pipe?, 0)?;
        instances.push(executor.spawn(serve(port.clone(), pipe, stopped.clone())));
    }
    println!("listening on {name}");
    let mut answered = 0;
    for instance in instances {
        answered += executor.block_on(instance)??;
    }
    println!("stopped after {answered} messages");
    Ok(())
}

/// Serves one client after the other; how many messages that were.
async fn serve(
    port: Iocp<()>,
    pipe: Associated<OwnedHandle>,
    mut stopped: watch::Receiver<()>,
) -> Result<u32, Error> {
    let mut answered = 0;
    loop {
        let served = match meet(&port, &pipe, &mut stopped).await {
            Ok(()) => converse(&port, &pipe, &mut stopped, &mut answered).await,
            // It came and went before it was waited for.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Err(error) if error.is_cancelled() => return Ok(answered),
            Err(error) => return Err(error),
        };
        match served {
            Err(error) if error.is_cancelled() => return Ok(answered),
            Err(error) => eprintln!("a client has failed: {error}"),
            Ok(()) => {}
        }
        pipe::disconnect(&pipe)?;
    }
}

/// Waits for a client.
async fn meet(
    port: &Iocp<()>,
    pipe: &Associated<OwnedHandle>,
    stopped: &mut watch::Receiver<()>,
) -> Result<(), Error> {
    let mut connect = port.initiate(pipe, (), op::ConnectPipe::new())?;
    tokio::select! {
        biased;
        connected = &mut connect => connected?,
        _ = stopped.changed() => {
            connect.cancel()?;
            connect.await? // cancelled, or a client was faster
        }
    };
    Ok(())
}

/// Answers a client's messages until it has gone.
async fn converse(
    port: &Iocp<()>,
    pipe: &Associated<OwnedHandle>,
    stopped: &mut watch::Receiver<()>,
    answered: &mut u32,
) -> Result<(), Error> {
    let mut buffer = Vec::with_capacity(LONGEST);
    loop {
        let mut read = port.initiate_read(pipe, (), buffer)?;
        let ended = tokio::select! {
            biased;
            ended = &mut read => ended,
            _ = stopped.changed() => {
                read.cancel()?;
                (&mut read).await // cancelled, or here is a message all the same
            }
        };
        let (_, message) = ended?;
        // An empty message is none.
        if read.is_at_end() {
            return Ok(());
        }
        let answer = message.to_ascii_uppercase();
        port.initiate_write(pipe, (), answer)?.timeout(PATIENCE).await?;
        *answered += 1;
        buffer = message;
        buffer.clear();
    }
}
