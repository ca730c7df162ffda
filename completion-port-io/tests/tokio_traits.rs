//! Streams by tokio's traits.
#![cfg(windows)]
#![cfg(feature = "tokio")]

mod support;

use std::io::IoSlice;
use std::net::TcpListener;

use completion_port::{Driver, Iocp, pipe};
use completion_port_io::Stream;
use support::{on_port, pattern, streams};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Sends back what comes, and returns how much that was.
async fn echo(stream: Stream) -> std::io::Result<u64> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let bytes = tokio::io::copy(&mut reader, &mut writer).await?;
    writer.shutdown().await?;
    Ok(bytes)
}

async fn check_echo(stream: Stream, length: usize) -> std::io::Result<()> {
    let source = pattern(length);
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        writer.write_all(&source).await?;
        writer.shutdown().await
    };
    let mut all = Vec::new();
    let (written, read) = tokio::join!(write, reader.read_to_end(&mut all));
    written?;
    read?;
    assert!(all == source, "other bytes");
    Ok(())
}

#[test]
fn tokios_copy_echoes_on_one_thread_that_parks_in_the_port() {
    on_port(|port| async move {
        let (client, server) = streams(&port);
        let (echoed, checked) = tokio::join!(echo(server), check_echo(client, 1 << 20));
        assert_eq!(echoed?, 1 << 20);
        checked
    });
}

#[test]
fn many_connections_are_echoed_by_tokios_threads() {
    let port = Iocp::<()>::typed().unwrap();
    let driver = Driver::spawn(&port).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = listener.local_addr().unwrap();
        let listener = port.add_handle(listener, 0).unwrap();
        let clients: Vec<_> = (1..=8)
            .map(|client| {
                let port = port.clone();
                tokio::spawn(async move {
                    check_echo(Stream::connect(&port, peer).await?, client * 20_000).await
                })
            })
            .collect();
        for _ in 1..=8 {
            let (_, stream) = port.initiate_accept(&listener, ()).unwrap().await.unwrap();
            tokio::spawn(echo(Stream::new(&port, stream).unwrap()));
        }
        for client in clients {
            client.await.unwrap().unwrap();
        }
    });
    driver.stop().unwrap();
}

#[test]
fn tokios_copy_passes_a_file_through_a_pipe() {
    on_port(|port| async move {
        let (reader, writer) = pipe::pair()?;
        let (mut reader, mut writer) = (Stream::new(&port, reader)?, Stream::new(&port, writer)?);
        let source = pattern(300_000);
        let write = async {
            let bytes = tokio::io::copy(&mut &source[..], &mut writer).await?;
            writer.shutdown().await?;
            drop(writer);
            Ok::<_, std::io::Error>(bytes)
        };
        let mut all = Vec::new();
        let (written, read) = tokio::join!(write, reader.read_to_end(&mut all));
        assert_eq!((written?, read?), (300_000, 300_000));
        assert!(all == source, "other bytes");
        Ok(())
    });
}

#[test]
fn tokio_is_told_that_streams_write_many_buffers_at_once() {
    on_port(|port| async move {
        let (mut client, mut server) = streams(&port);
        assert!(client.is_write_vectored());
        let buffers = [&b"hello "[..], b"world"].map(IoSlice::new);
        assert_eq!(client.write_vectored(&buffers).await?, 11);
        let mut text = [0; 11];
        server.read_exact(&mut text).await?;
        assert_eq!(&text, b"hello world");
        Ok(())
    });
}

#[test]
fn a_read_that_loses_a_select_loses_no_data() {
    let port = Iocp::<()>::typed().unwrap();
    let _driver = Driver::spawn(&port).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut client, mut server) = streams(&port);
        let source = pattern(20_000);
        let sends = source.clone();
        let writes = tokio::spawn(async move {
            for part in sends.chunks(10) {
                client.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            client
        });
        let (mut all, mut buffer, mut lost) = (Vec::new(), [0; 7], 0);
        while all.len() < source.len() {
            tokio::select! {
                biased;
                bytes = server.read(&mut buffer) => all.extend_from_slice(&buffer[..bytes.unwrap()]),
                () = tokio::task::yield_now() => lost += 1,
            }
        }
        assert!(all == source, "other bytes");
        assert!(lost > 0, "no read has lost");
        writes.await.unwrap();
    });
}
