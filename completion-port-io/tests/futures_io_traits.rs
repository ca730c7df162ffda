//! Streams by the traits of futures-io.
#![cfg(windows)]
#![cfg(feature = "futures-io")]

mod support;

use std::io::IoSlice;

use completion_port::pipe;
use completion_port_io::Stream;
use futures_lite::future::zip;
use futures_lite::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use support::{on_port, pattern, streams};

#[test]
fn a_connection_is_echoed_by_copy() {
    on_port(|port| async move {
        let (client, server) = streams(&port);
        let source = pattern(1 << 20);
        let echo = async {
            let (reader, mut writer) = split(server);
            let bytes = copy(reader, &mut writer).await?;
            writer.close().await?;
            Ok::<_, std::io::Error>(bytes)
        };
        let (mut reader, mut writer) = split(client);
        let write = async {
            writer.write_all(&source).await?;
            writer.close().await
        };
        let mut all = Vec::new();
        let (echoed, (written, read)) = zip(echo, zip(write, reader.read_to_end(&mut all))).await;
        written?;
        assert_eq!((echoed?, read?), (1 << 20, 1 << 20));
        assert!(all == source, "other bytes");
        Ok(())
    });
}

#[test]
fn many_buffers_go_through_a_pipe_at_once() {
    on_port(|port| async move {
        let (reader, writer) = pipe::pair()?;
        let (mut reader, mut writer) = (Stream::new(&port, reader)?, Stream::new(&port, writer)?);
        let buffers = [&b"hello "[..], b"world"].map(IoSlice::new);
        assert_eq!(writer.write_vectored(&buffers).await?, 11);
        writer.flush().await?;
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).await?;
        assert_eq!(text, "hello world");
        Ok(())
    });
}
