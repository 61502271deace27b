use std::time::Duration;

use anyhow::{Context, bail};
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::ProvideCredentials;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use kinesis_sink::StreamId;

/// Options for an existing stream. Without any of them an example starts an embedded server.
#[derive(Debug, clap::Args)]
pub struct Remote {
    /// Name or ARN of the stream to send to [default with --region or --endpoint: example]
    #[arg(long, value_name = "NAME|ARN")]
    stream: Option<String>,

    /// Region of the stream [default: the region of the ARN or of the environment]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,

    /// URL of the service endpoint, such as http://127.0.0.1:4567 for a local server
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
}

impl Remote {
    pub fn is_set(&self) -> bool {
        self.stream.is_some() || self.region.is_some() || self.endpoint.is_some()
    }

    pub fn stream(&self) -> &str {
        self.stream.as_deref().unwrap_or("example")
    }

    /// Creates a client. Checks that credentials are available, and that the endpoint and the stream exist.
    pub async fn connect(&self) -> anyhow::Result<Client> {
        let client = client(self).await?;
        check_stream(&client, self.stream()).await?;
        Ok(client)
    }
}

async fn client(arguments: &Remote) -> anyhow::Result<Client> {
    let stream: Option<StreamId> = arguments.stream.as_deref().map(str::parse).transpose()?;
    let region = arguments.region.clone();
    let region = region.or_else(|| Some(stream?.region()?.to_owned()));
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(TimeoutConfig::builder().connect_timeout(Duration::from_secs(5)).build());
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    }
    if let Some(endpoint) = &arguments.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let config = loader.load().await;
    if config.region().is_none() {
        bail!("no region is configured: pass --region or set AWS_REGION");
    }
    let credentials = config.credentials_provider().context("no AWS credentials configured")?;
    match credentials.provide_credentials().await {
        Ok(_) => Ok(Client::new(&config)),
        // The source of the error is omitted, because it only lists all credentials providers.
        Err(CredentialsError::CredentialsNotLoaded(_)) => bail!(
            "no AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a profile"
        ),
        Err(error) => Err(error).context("cannot load the AWS credentials"),
    }
}

/// Checks the stream. Ignores `AccessDeniedException`: permission to write does not include `DescribeStreamSummary`.
async fn check_stream(client: &Client, stream: &str) -> anyhow::Result<()> {
    let id: StreamId = stream.parse()?;
    let region = client.config().region().map(|region| region.as_ref());
    if let (Some(of_stream), Some(of_client)) = (id.region(), region)
        && of_stream != of_client
    {
        bail!("the stream is in region {of_stream}, the client uses {of_client}: check --region");
    }
    let call = client.describe_stream_summary();
    let call = match id.arn() {
        Some(arn) => call.stream_arn(arn),
        None => call.stream_name(id.name()),
    };
    let Err(error) = call.send().await else { return Ok(()) };
    match error.code() {
        Some("ResourceNotFoundException") => {
            bail!("stream {stream} does not exist: create it or check --stream and --region")
        }
        Some("AccessDeniedException") => Ok(()),
        Some(code) => bail!(
            "cannot describe stream {stream}: {code}: {}",
            error.message().unwrap_or_default()
        ),
        None => Err(error).context("the endpoint cannot be reached"),
    }
}
