//! What streams do, whichever traits they are used by.
#![cfg(windows)]

mod support;

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use completion_port::{Iocp, pipe};
use completion_port_io::{Stream, Transport};
use support::{Wakes, connection, on_port, pattern, streams};

const BUFFER: usize = Stream::<TcpStream>::BUFFER;

async fn read<S: Transport>(stream: &mut Stream<S>, buffer: &mut [u8]) -> io::Result<usize> {
    poll_fn(|context| stream.poll_read(context, buffer)).await
}

async fn write<S: Transport>(stream: &mut Stream<S>, buffer: &[u8]) -> io::Result<usize> {
    poll_fn(|context| stream.poll_write(context, buffer)).await
}

async fn flush<S: Transport>(stream: &mut Stream<S>) -> io::Result<()> {
    poll_fn(|context| stream.poll_flush(context)).await
}

async fn shut_down<S: Transport>(stream: &mut Stream<S>) -> io::Result<()> {
    poll_fn(|context| stream.poll_shutdown(context)).await
}

/// Writes until that waits; how much it was.
fn fill<S: Transport>(stream: &mut Stream<S>, source: &[u8]) -> usize {
    let mut context = Context::from_waker(Waker::noop());
    let (mut sent, mut waits) = (0, 0);
    // The second time in a row it is not just the turn of others.
    while waits < 2 {
        match stream.poll_write(&mut context, &source[sent..]) {
            Poll::Ready(bytes) => (sent, waits) = (sent + bytes.unwrap(), 0),
            Poll::Pending => waits += 1,
        }
        assert!(sent < source.len(), "the system has too much room for this test");
    }
    sent
}

/// Drops reads that wait, and then some that may be over: each byte arrives once.
async fn cancelled_reads_lose_nothing<R: Transport, W: Transport>(
    reader: &mut Stream<R>,
    writer: &mut Stream<W>,
) -> io::Result<()> {
    let mut context = Context::from_waker(Waker::noop());
    let mut buffer = [0; 2];
    for at in 0..1000 {
        let byte = (at % 251) as u8;
        assert!(reader.poll_read(&mut context, &mut buffer).is_pending());
        write(writer, &[byte]).await?;
        let mut polled = Poll::Pending;
        for _ in 0..at % 4 {
            polled = reader.poll_read(&mut context, &mut buffer);
            if polled.is_ready() {
                break;
            }
        }
        let bytes = match polled {
            Poll::Ready(bytes) => bytes?,
            Poll::Pending => read(reader, &mut buffer).await?,
        };
        assert_eq!((bytes, buffer[0]), (1, byte));
    }
    Ok(())
}

#[test]
fn a_thousand_cancelled_reads_of_a_connection_lose_no_byte() {
    on_port(|port| async move {
        let (mut reader, mut writer) = streams(&port);
        cancelled_reads_lose_nothing(&mut reader, &mut writer).await
    });
}

#[test]
fn a_thousand_cancelled_reads_of_a_pipe_lose_no_byte() {
    on_port(|port| async move {
        let (reader, writer) = pipe::pair()?;
        let (mut reader, mut writer) = (Stream::new(&port, reader)?, Stream::new(&port, writer)?);
        cancelled_reads_lose_nothing(&mut reader, &mut writer).await
    });
}

#[test]
fn a_read_fills_no_more_than_its_buffer_and_the_rest_comes_next() {
    on_port(|port| async move {
        let (reader, writer) = pipe::pair()?;
        let (mut reader, mut writer) = (Stream::new(&port, reader)?, Stream::new(&port, writer)?);
        assert_eq!(write(&mut writer, b"hello world").await?, 11);
        let mut buffer = [0; 6];
        assert_eq!(read(&mut reader, &mut []).await?, 0);
        assert_eq!(read(&mut reader, &mut buffer).await?, 6);
        assert_eq!(&buffer, b"hello ");
        assert_eq!(read(&mut reader, &mut buffer).await?, 5);
        assert_eq!(&buffer[..5], b"world");
        Ok(())
    });
}

#[test]
fn a_message_that_is_longer_than_what_is_read_ahead_arrives_whole() {
    on_port(|port| async move {
        let name = format!(r"\\.\pipe\completion-port-io-messages-{}", std::process::id());
        let writer = pipe::ServerOptions::new().messages(true).create(&name)?;
        let reader = pipe::ClientOptions::new().messages(true).open(&name)?;
        let (mut reader, mut writer) = (Stream::new(&port, reader)?, Stream::new(&port, writer)?);
        let message = pattern(50_000);
        assert_eq!(write(&mut writer, &message).await?, 50_000);
        let (mut all, mut buffer) = (Vec::new(), vec![0; 50_000]);
        while all.len() < message.len() {
            let bytes = read(&mut reader, &mut buffer).await?;
            assert_ne!(bytes, 0, "the end");
            all.extend_from_slice(&buffer[..bytes]);
        }
        assert!(all == message, "other bytes");
        Ok(())
    });
}

#[test]
fn the_reader_of_a_pipe_sees_the_end_when_the_writer_is_dropped() {
    on_port(|port| async move {
        let (reader, writer) = pipe::pair()?;
        let (mut reader, mut writer) = (Stream::new(&port, reader)?, Stream::new(&port, writer)?);
        write(&mut writer, b"the last").await?;
        shut_down(&mut writer).await?;
        drop(writer);
        let mut buffer = [0; 64];
        assert_eq!(read(&mut reader, &mut buffer).await?, 8);
        for _ in 0..2 {
            assert_eq!(read(&mut reader, &mut buffer).await?, 0);
        }
        Ok(())
    });
}

#[test]
fn one_half_of_a_connection_is_closed_and_the_other_goes_on() {
    on_port(|port| async move {
        let (mut client, mut server) = streams(&port);
        write(&mut client, b"all").await?;
        shut_down(&mut client).await?;
        shut_down(&mut client).await?;
        let mut buffer = [0; 64];
        assert_eq!(read(&mut server, &mut buffer).await?, 3);
        for _ in 0..2 {
            assert_eq!(read(&mut server, &mut buffer).await?, 0);
        }
        assert_eq!(write(&mut server, b"answer").await?, 6);
        assert_eq!(read(&mut client, &mut buffer).await?, 6);
        Ok(())
    });
}

#[test]
fn a_shutdown_comes_after_what_the_stream_has_buffered() {
    on_port(|port| async move {
        let (client, mut peer) = connection();
        let mut client = Stream::new(&port, client)?;
        let source = pattern(16 << 20);
        let sent = fill(&mut client, &source);
        let mut context = Context::from_waker(Waker::noop());
        assert!(client.poll_shutdown(&mut context).is_pending());
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).map(|_| all)
        });
        shut_down(&mut client).await?;
        assert!(reader.join().unwrap()? == source[..sent], "other bytes");
        Ok(())
    });
}

#[test]
fn writes_wait_for_a_peer_that_does_not_read() {
    on_port(|port| async move {
        let (client, mut peer) = connection();
        let mut client = Stream::new(&port, client)?;
        let source = pattern(16 << 20);
        let sent = fill(&mut client, &source);
        let mut context = Context::from_waker(Waker::noop());
        assert!(client.poll_flush(&mut context).is_pending());
        let reader = thread::spawn(move || {
            let mut all = vec![0; sent + 10];
            peer.read_exact(&mut all).map(|()| all)
        });
        assert_eq!(write(&mut client, &source[sent..sent + 10]).await?, 10);
        flush(&mut client).await?;
        assert!(reader.join().unwrap()? == source[..sent + 10], "other bytes");
        Ok(())
    });
}

#[test]
fn a_pipe_takes_one_buffer_until_it_is_written() {
    on_port(|port| async move {
        let (reader, writer) = pipe::pair()?;
        let (mut reader, mut writer) = (Stream::new(&port, reader)?, Stream::new(&port, writer)?);
        let source = pattern(1 << 20);
        assert_eq!(write(&mut writer, &source).await?, BUFFER);
        let (mut sent, mut received) = (BUFFER, 0);
        let mut buffer = vec![0; 10_000];
        while received < source.len() {
            let mut context = Context::from_waker(Waker::noop());
            if let Poll::Ready(bytes) = writer.poll_write(&mut context, &source[sent..]) {
                sent += bytes?;
            }
            let bytes = read(&mut reader, &mut buffer).await?;
            assert!(buffer[..bytes] == source[received..received + bytes], "other bytes");
            received += bytes;
        }
        Ok(())
    });
}

#[test]
fn buffers_of_one_write_go_out_in_order() {
    on_port(|port| async move {
        let (mut client, mut server) = streams(&port);
        let buffers = [&b"one, "[..], b"", b"two, ", b"three"].map(IoSlice::new);
        let bytes = poll_fn(|context| client.poll_write_vectored(context, &buffers)).await?;
        assert_eq!(bytes, 15);
        let mut buffer = [0; 64];
        assert_eq!(read(&mut server, &mut buffer).await?, 15);
        assert_eq!(&buffer[..15], b"one, two, three");
        let (reader, writer) = pipe::pair()?;
        let (mut reader, mut writer) = (Stream::new(&port, reader)?, Stream::new(&port, writer)?);
        // The stream's buffer ends within the second.
        let (first, second) = (pattern(60_000), pattern(10_000));
        let buffers = [IoSlice::new(&first), IoSlice::new(&second), IoSlice::new(b"more")];
        let bytes = poll_fn(|context| writer.poll_write_vectored(context, &buffers)).await?;
        assert_eq!(bytes, BUFFER);
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        while all.len() < bytes {
            let bytes = read(&mut reader, &mut buffer).await?;
            all.extend_from_slice(&buffer[..bytes]);
        }
        assert!(all == [first, second].concat()[..BUFFER], "other bytes");
        Ok(())
    });
}

#[test]
fn an_empty_message_of_a_pipe_is_not_taken_for_its_end() {
    on_port(|port| async move {
        let name = format!(r"\\.\pipe\completion-port-io-empty-{}", std::process::id());
        let server = pipe::ServerOptions::new().messages(true).create(&name)?;
        let mut server = Stream::new(&port, server)?;
        let client = port.add_handle(pipe::ClientOptions::new().open(&name)?, 0)?;
        let mut buffer = [0; 64];
        for message in ["", "one", "", "", "two"] {
            port.initiate_write(&client, (), message)?.await?;
        }
        for message in [&b"one"[..], b"two"] {
            let bytes = read(&mut server, &mut buffer).await?;
            assert_eq!(&buffer[..bytes], message);
        }
        let mut context = Context::from_waker(Waker::noop());
        assert!(server.poll_read(&mut context, &mut buffer).is_pending());
        port.initiate_write(&client, (), "")?.await?;
        assert!(server.poll_read(&mut context, &mut buffer).is_pending());
        drop(client);
        for _ in 0..2 {
            assert_eq!(read(&mut server, &mut buffer).await?, 0);
        }
        Ok(())
    });
}

#[test]
fn nothing_is_written_of_empty_buffers() {
    on_port(|port| async move {
        let (_reader, writer) = pipe::pair()?;
        let mut writer = Stream::new(&port, writer)?;
        assert_eq!(write(&mut writer, &[]).await?, 0);
        assert_eq!(port.in_flight(), 0);
        Ok(())
    });
}

#[test]
fn the_error_of_an_earlier_write_is_told_once_by_the_next_call() {
    on_port(|port| async move {
        let name = format!(r"\\.\pipe\completion-port-io-{}", std::process::id());
        let reader = pipe::ServerOptions::new().buffer_sizes(512, 512).create(&name)?;
        let mut writer = Stream::new(&port, pipe::ClientOptions::new().open(&name)?)?;
        write(&mut writer, &pattern(BUFFER)).await?;
        drop(reader);
        assert_eq!(flush(&mut writer).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        flush(&mut writer).await?;
        // This write is taken over, or refused at once.
        match write(&mut writer, b"more").await {
            Ok(_) => {
                assert_eq!(flush(&mut writer).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::BrokenPipe),
        }
        Ok(())
    });
}

#[test]
fn a_connection_that_is_reset_fails_reads_and_writes() {
    on_port(|port| async move {
        let (mut client, peer) = connection();
        client.write_all(b"unread")?;
        let mut client = Stream::new(&port, client)?;
        // What was not read resets the connection.
        peer.set_read_timeout(Some(Duration::from_secs(10)))?;
        peer.peek(&mut [0])?;
        drop(peer);
        let mut buffer = [0; 64];
        assert!(read(&mut client, &mut buffer).await.is_err());
        assert!(write(&mut client, b"more").await.is_err());
        Ok(())
    });
}

#[test]
fn dropping_a_stream_cancels_what_it_has_in_flight() {
    let port = Iocp::<()>::typed().unwrap();
    let (client, peer) = connection();
    let mut client = Stream::new(&port, client).unwrap();
    let source = pattern(16 << 20);
    fill(&mut client, &source);
    let mut context = Context::from_waker(Waker::noop());
    assert!(client.poll_read(&mut context, &mut [0; 64]).is_pending());
    assert_eq!(port.in_flight(), 2);
    drop(client);
    while port.in_flight() > 0 {
        let timeout = Duration::from_secs(10);
        port.get_completion_timeout(timeout).unwrap().expect("both are cancelled");
    }
    drop(peer);
}

#[test]
fn a_stream_of_a_closed_port_fails() {
    let port = Iocp::<()>::typed().unwrap();
    let (mut client, _server) = streams(&port);
    let waiting = port.block_on(async {
        let mut context = Context::from_waker(Waker::noop());
        assert!(client.poll_read(&mut context, &mut [0; 64]).is_pending());
        port.close();
        let cancelled = read(&mut client, &mut [0; 64]).await;
        let refused = read(&mut client, &mut [0; 64]).await;
        (cancelled, refused)
    });
    let (cancelled, refused) = waiting.unwrap();
    assert!(cancelled.is_err());
    assert!(refused.is_err());
}

#[test]
fn streams_that_are_always_ready_let_others_run() {
    on_port(|port| async move {
        let (reader, mut peer) = connection();
        let mut reader = Stream::new(&port, reader)?;
        peer.write_all(&[7; 100])?;
        peer.shutdown(Shutdown::Write)?;
        read(&mut reader, &mut [0]).await?;
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        let polls: Vec<_> =
            (0..80).map(|_| reader.poll_read(&mut context, &mut [0]).is_ready()).collect();
        let runs: Vec<_> = polls.split(|is_ready| !is_ready).map(<[_]>::len).collect();
        assert!(runs.iter().all(|run| *run <= 32), "{runs:?}");
        assert_eq!(wakes.count(), runs.len() - 1);
        Ok(())
    });
}

#[test]
fn a_direction_that_is_always_ready_lets_others_run_while_the_other_waits() {
    on_port(|port| async move {
        let (mut client, mut server) = streams(&port);
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        // 32 are ready, and the next one is not.
        let mut pauses = 0;
        for _ in 0..100 {
            assert!(client.poll_read(&mut context, &mut [0]).is_pending());
            pauses += usize::from(client.poll_write(&mut context, &[7]).is_pending());
        }
        assert_eq!((pauses, wakes.count()), (3, 3));
        fill(&mut server, &pattern(16 << 20));
        for _ in 0..90 {
            assert!(server.poll_flush(&mut context).is_pending());
            pauses += usize::from(server.poll_read(&mut context, &mut [0]).is_pending());
        }
        assert_eq!((pauses, wakes.count()), (5, 5));
        Ok(())
    });
}

#[test]
fn connecting_makes_a_stream_or_says_why_not() {
    on_port(|port| async move {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let peer = listener.local_addr()?;
        let mut client = Stream::connect(&port, peer).await?;
        let (mut server, address) = listener.accept()?;
        assert_eq!(client.get_ref().get_ref().local_addr()?, address);
        server.write_all(b"welcome")?;
        assert_eq!(read(&mut client, &mut [0; 64]).await?, 7);
        drop((listener, server, client));
        let refused = Stream::connect(&port, peer).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        Ok(())
    });
}
