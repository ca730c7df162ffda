//! Operations on the executors that others have made, none of which knows of the port.
#![cfg(not(simulated_kernel))] // its dependencies are for the system's own kernel
#![cfg(windows)]

mod support;

use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use completion_port::{Associated, Driver, Failed, Iocp};
use futures_executor::ThreadPool;
use support::{PATIENCE, overlapped_file, pattern, port_of, stream_pair, temp_file};

/// A task that echoes until the stream ends; how many bytes it has seen.
async fn echo(port: Iocp<()>, stream: Associated<TcpStream>) -> completion_port::Result<u32> {
    let (mut buffer, mut total) = (Vec::with_capacity(1000), 0);
    loop {
        buffer.clear();
        let (bytes, read) = port.initiate_read(&stream, (), buffer)?.await?;
        if bytes == 0 {
            return Ok(total);
        }
        total += bytes;
        (_, buffer) = port.initiate_write(&stream, (), read)?.await?;
    }
}

const MESSAGES: usize = 50;

/// Lets an executor run a task for each of several connections.
fn check<T>(
    spawn: impl Fn(Pin<Box<dyn Future<Output = u32> + Send>>) -> T,
    join: impl Fn(T) -> u32,
) {
    let port = port_of::<()>();
    let driver = Driver::spawn(&port).unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (client, server) = stream_pair();
            let server = port.add_handle(server, 0).unwrap();
            let port = port.clone();
            (client, spawn(Box::pin(async move { echo(port, server).await.unwrap() })))
        })
        .collect();
    for (mut client, task) in tasks {
        let (message, mut echoed) = (pattern(777), vec![0; 777]);
        for _ in 0..MESSAGES {
            client.write_all(&message).unwrap();
            client.read_exact(&mut echoed).unwrap();
            assert_eq!(echoed, message);
        }
        drop(client);
        assert_eq!(join(task) as usize, 777 * MESSAGES);
    }
    driver.stop().unwrap();
    assert_eq!(port.in_flight(), 0);
}

#[test]
fn tokio_awaits_operations_on_several_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    check(|task| runtime.spawn(task), |task| runtime.block_on(task).unwrap());
}

#[test]
fn tokio_awaits_operations_on_one_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let runtime = Arc::new(runtime);
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    let thread = {
        let runtime = Arc::clone(&runtime);
        thread::spawn(move || runtime.block_on(finished))
    };
    check(
        |task| {
            let (sender, receiver) = mpsc::channel();
            runtime.spawn(async move { sender.send(task.await).unwrap() });
            receiver
        },
        |receiver| receiver.recv_timeout(PATIENCE).unwrap(),
    );
    finish.send(()).unwrap();
    thread.join().unwrap().unwrap();
}

#[test]
fn a_thread_pool_awaits_operations() {
    let pool = ThreadPool::builder().pool_size(2).create().unwrap();
    check(
        |task| {
            let (sender, receiver) = mpsc::channel();
            pool.spawn_ok(async move { sender.send(task.await).unwrap() });
            receiver
        },
        |receiver| receiver.recv_timeout(PATIENCE).unwrap(),
    );
}

#[test]
fn smol_awaits_operations() {
    check(smol::spawn, smol::block_on);
}

#[test]
fn threads_that_block_on_a_future_await_operations() {
    check(|task| thread::spawn(|| pollster::block_on(task)), |thread| thread.join().unwrap());
    check(
        |task| thread::spawn(|| futures_executor::block_on(task)),
        |thread| thread.join().unwrap(),
    );
}

#[test]
fn a_file_is_read_by_many_tasks_of_tokio() {
    const BLOCK: usize = 4096;
    let contents = pattern(64 * BLOCK);
    let temporary = temp_file("tasks", &contents);
    let port = port_of::<()>();
    let driver = Driver::spawn(&port).unwrap();
    let file = overlapped_file(temporary.path(), true, false);
    let file = Arc::new(port.add_handle(file, 0).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let (port, file) = (port.clone(), Arc::clone(&file));
            runtime.spawn(async move {
                let buffer = Vec::with_capacity(BLOCK);
                let offset = (task * BLOCK) as u64;
                port.initiate_read_at(&file, (), buffer, offset)?
                    .await
                    .map_err(completion_port::Error::from)
            })
        })
        .collect();
    for (task, expected) in tasks.into_iter().zip(contents.chunks(BLOCK)) {
        let (bytes, buffer) = runtime.block_on(task).unwrap().unwrap();
        assert_eq!((bytes as usize, &buffer[..]), (BLOCK, expected));
    }
    drop(file);
    driver.stop().unwrap();
}

/// Reads that race with time-outs, whoever wins: no byte is lost.
#[test]
fn a_read_that_is_awaited_by_reference_loses_nothing_to_a_timeout() {
    const BYTES: usize = 2000;
    let (port, (mut client, server)) = (port_of::<()>(), stream_pair());
    let driver = Driver::spawn(&port).unwrap();
    let server = port.add_handle(server, 0).unwrap();
    let writes = thread::spawn(move || {
        for byte in pattern(BYTES) {
            client.write_all(&[byte]).unwrap();
            if byte % 16 == 0 {
                thread::sleep(Duration::from_micros(500));
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let received = runtime.block_on(async {
        let mut received = Vec::<u8>::new();
        while received.len() < BYTES {
            let mut read = port.initiate_read(&server, (), [0; 4]).unwrap();
            let patience = Duration::from_micros(100);
            let ended = tokio::time::timeout(patience, &mut read).await;
            let ended = if let Ok(ended) = ended {
                ended
            } else {
                read.cancel().unwrap();
                read.await
            };
            match ended {
                Ok((bytes, buffer)) => received.extend(&buffer[..bytes as usize]),
                Err(Failed { error, .. }) => assert!(error.is_cancelled(), "{error}"),
            }
        }
        received
    });
    writes.join().unwrap();
    assert!(received == pattern(BYTES));
    driver.stop().unwrap();
}

#[test]
fn an_operation_by_reference_is_selected_again_and_again() {
    let (port, (mut client, server)) = (port_of::<()>(), stream_pair());
    let driver = Driver::spawn(&port).unwrap();
    let server = port.add_handle(server, 0).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut read = port.initiate_read(&server, (), Vec::with_capacity(8)).unwrap();
        let mut ticks = 0;
        let ended = loop {
            tokio::select! {
                ended = &mut read => break ended,
                () = tokio::time::sleep(Duration::from_millis(1)) => {
                    ticks += 1;
                    if ticks == 5 {
                        client.write_all(b"abc").unwrap();
                    }
                }
            }
        };
        assert_eq!(ended, Ok((3, b"abc".to_vec())));
    });
    driver.stop().unwrap();
}
