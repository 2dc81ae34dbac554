//! The measured work as a service of Restate: listens on the address that is its argument, and tells the server of it nothing; who
//! measures registers it.

use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use std::error::Error;

#[derive(Serialize, Deserialize)]
struct Work {
    /// How many steps, one after the other.
    n: u64,
    /// What each step asks for; none for a step that only gives a number.
    url: Option<String>,
}

struct Bench {
    client: reqwest::Client,
}

#[service]
impl Bench {
    #[handler]
    async fn work(&self, context: Context<'_>, work: Json<Work>) -> Result<u64, HandlerError> {
        let Work { n, url } = work.into_inner();
        for i in 0..n {
            match &url {
                None => {
                    context.run(|| async move { Ok(i) }).name("s").await?;
                }
                Some(url) => {
                    let request = self.client.get(url);
                    context.run(|| async move { Ok(request.send().await?.text().await?) }).name("s").await?;
                }
            }
        }
        Ok(n)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: peer-restate ADDRESS")?;
    let endpoint = Endpoint::builder().bind(Bench { client: reqwest::Client::new() }).build();
    let listener = tokio::net::TcpListener::bind(address).await?;
    HttpServer::new(endpoint).serve(listener).await;
    Ok(())
}
