//! TLS by rustls, over streams of a port.
#![cfg(all(windows, target_arch = "x86_64", target_env = "gnu"))]
#![cfg(feature = "tokio")]

mod support;

use std::io::{self, ErrorKind};
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use support::{on_port, pattern, streams};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A server with a certificate for "localhost", and a client that trusts it.
fn ends() -> (TlsAcceptor, TlsConnector) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server).into(), Arc::new(client).into())
}

#[test]
fn tls_echoes_over_a_connection() {
    on_port(|port| async move {
        let (acceptor, connector) = ends();
        let (client, server) = streams(&port);
        let echo = async {
            let (mut reader, mut writer) = split(acceptor.accept(server).await?);
            let bytes = copy(&mut reader, &mut writer).await?;
            writer.shutdown().await?;
            Ok::<_, io::Error>(bytes)
        };
        let source = pattern(3_000_000);
        let check = async {
            let name = "localhost".try_into().unwrap();
            let (mut reader, mut writer) = split(connector.connect(name, client).await?);
            let write = async {
                writer.write_all(&source).await?;
                writer.shutdown().await
            };
            let mut all = Vec::new();
            let (written, read) = tokio::join!(write, reader.read_to_end(&mut all));
            written?;
            read?;
            assert!(all == source, "other bytes");
            Ok::<_, io::Error>(())
        };
        let (echoed, checked) = tokio::join!(echo, check);
        checked?;
        assert_eq!(echoed?, 3_000_000);
        Ok(())
    });
}

/// What is encrypted has its own end: a connection that merely closes is cut.
#[test]
fn a_connection_that_closes_without_tls_is_no_end_of_the_text() {
    on_port(|port| async move {
        let (acceptor, connector) = ends();
        let (client, server) = streams(&port);
        let name = "localhost".try_into().unwrap();
        let (server, client) =
            tokio::join!(acceptor.accept(server), connector.connect(name, client));
        let (mut server, mut client) = (server?, client?);
        server.write_all(b"half of").await?;
        server.flush().await?;
        drop(server);
        let mut text = Vec::new();
        let cut = client.read_to_end(&mut text).await.unwrap_err();
        assert_eq!((cut.kind(), &text[..]), (ErrorKind::UnexpectedEof, &b"half of"[..]));
        Ok(())
    });
}
