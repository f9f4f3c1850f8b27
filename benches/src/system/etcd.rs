//! etcd: three processes with its own defaults, and a client on the same gRPC stack as Chancery's.
//!
//! It speaks plain TCP, as it does unless told otherwise; Chancery's connections are mutual TLS. That difference is in
//! etcd's favour, and is said where the figures are.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chancery_transport::connector;
use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::addresses::address;
use super::{ASK_EVERY, NODES, START_TIMEOUT};
use crate::fault::{BenchError, Result};
use crate::processes::Process;

const SYSTEM: &str = "etcd";

/// How long an operation may take: as long as a check of Chancery's.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Three processes.
#[derive(Debug)]
pub(crate) struct Etcd {
    pub(crate) processes: Vec<Process>,
    place: u16,
}

/// A connection to one of them.
#[derive(Clone, Debug)]
pub(crate) struct Client(tonic::client::Grpc<Channel>);

impl Etcd {
    /// Starts them in `folder`. Their ports begin at `place`.
    pub(crate) async fn start(program: &Path, folder: &Path, place: u16) -> Result<Self> {
        let peer = |node| format!("http://{}", address(node, place));
        let client = |node| format!("http://{}", address(node, place + 1));
        let all: Vec<_> = (1..=NODES).map(|node| format!("n{node}={}", peer(node))).collect();
        let mut processes = Vec::new();
        for node in 1..=NODES {
            let arguments = [
                ("--name", format!("n{node}")),
                ("--data-dir", folder.join(format!("n{node}")).display().to_string()),
                ("--listen-peer-urls", peer(node)),
                ("--initial-advertise-peer-urls", peer(node)),
                ("--listen-client-urls", client(node)),
                ("--advertise-client-urls", client(node)),
                ("--initial-cluster", all.join(",")),
                ("--initial-cluster-state", "new".into()),
                ("--log-level", "error".into()),
            ];
            let arguments: Vec<_> =
                arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
            let log = folder.join(format!("n{node}.log"));
            processes.push(Process::start(program, &arguments, &[], log)?);
        }
        let etcd = Self { processes, place };
        let began = Instant::now();
        loop {
            let mut served = 0;
            for node in 1..=NODES {
                served += u16::from(etcd.client(node)?.get(b"nothing", true).await.is_ok());
            }
            if served == NODES {
                return Ok(etcd);
            }
            if began.elapsed() > START_TIMEOUT {
                let words: Vec<_> = etcd.processes.iter().map(Process::last_words).collect();
                return Err(BenchError::of(SYSTEM)(format!("it does not serve:\n{}", words.join("\n"))));
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// A connection of its own to node `node`.
    pub(crate) fn client(&self, node: u16) -> Result<Client> {
        let uri = format!("http://{}", address(node, self.place + 1));
        let endpoint = Endpoint::from_shared(uri).map_err(BenchError::of(SYSTEM))?;
        Ok(Client(tonic::client::Grpc::new(endpoint.connect_with_connector_lazy(connector()))))
    }
}

impl Client {
    /// Puts `value` at `key`.
    pub(crate) async fn put(&self, key: &[u8], value: &Bytes) -> std::result::Result<(), String> {
        let request = PutRequest { key: key.to_vec().into(), value: value.clone() };
        let reply: PutReply = self.call("/etcdserverpb.KV/Put", request).await?;
        reply.header.map(drop).ok_or_else(|| "a reply without a header".into())
    }

    /// What is at `key`: linearizable, or else what this node has.
    pub(crate) async fn get(
        &self,
        key: &[u8],
        linearizable: bool,
    ) -> std::result::Result<Option<Bytes>, String> {
        let request = RangeRequest { key: key.to_vec().into(), serializable: !linearizable };
        let reply: RangeReply = self.call("/etcdserverpb.KV/Range", request).await?;
        Ok(reply.kvs.into_iter().next().map(|pair| pair.value))
    }

    async fn call<Q, A>(&self, path: &'static str, request: Q) -> std::result::Result<A, String>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.0.clone();
        let call = async {
            grpc.ready().await.map_err(|error| error.to_string())?;
            let (request, path) = (tonic::Request::new(request), PathAndQuery::from_static(path));
            let reply = grpc.unary(request, path, ProstCodec::<Q, A>::default()).await;
            reply.map(tonic::Response::into_inner).map_err(|status| status.to_string())
        };
        timeout(CALL_TIMEOUT, call).await.map_err(|_| "no answer in time".to_owned())?
    }
}

// Of etcd's `rpc.proto` and `kv.proto`, what is used here. Fields that are left out are skipped when they come.

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(int64, tag = "3")]
    revision: i64,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bool, tag = "7")]
    serializable: bool,
}

#[derive(Clone, PartialEq, Message)]
struct RangeReply {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct PutReply {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}
