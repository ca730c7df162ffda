//! A server of a message pipe, on one thread: `message_pipe [NAME]`.
//!
//! Each message is answered by itself in capitals. When the input ends (Ctrl-Z and Enter), the
//! server stops: a message that has been sent is still answered, because the reads are awaited
//! by reference in `select!`, which so loses none.

use std::io;
use std::os::windows::io::OwnedHandle;
use std::thread;

use completion_port::{Associated, Error, Iocp, op, pipe};
use completion_port_io::Executor;
use tokio::sync::watch;

const INSTANCES: usize = 4;
const LONGEST: usize = 4096;

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
        let mut connect = port.initiate(&pipe, (), op::ConnectPipe::new())?;
        let connected = tokio::select! {
            biased;
            connected = &mut connect => connected,
            _ = stopped.changed() => {
                connect.cancel()?;
                connect.await // cancelled, or a client was faster
            }
        };
        match connected {
            Ok(_) => {}
            Err(failed) if failed.error.is_cancelled() => return Ok(answered),
            Err(failed) => return Err(failed.error),
        }
        if let Err(error) = converse(&port, &pipe, &mut stopped, &mut answered).await {
            if error.is_cancelled() {
                return Ok(answered);
            }
            eprintln!("a client has failed: {error}");
        }
        pipe::disconnect(&pipe)?;
    }
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
                read.await // cancelled, or here is a message all the same
            }
        };
        let (bytes, message) = ended?;
        if bytes == 0 {
            return Ok(());
        }
        let answer = message.to_ascii_uppercase();
        port.initiate_write(pipe, (), answer)?.await?;
        *answered += 1;
        buffer = message;
        buffer.clear();
    }
}
