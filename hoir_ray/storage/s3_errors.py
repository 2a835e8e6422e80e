"""Errors of S3 in one line: the cause, the place, the right or setting that mends it, and never a credential."""

from __future__ import annotations

import botocore.exceptions as boto

from hoir_ray.errors import StorageError

_CAUSES = {
    "AccessDenied": "access denied; the credentials need {permission} there",
    "AllAccessDisabled": "access denied; the credentials need {permission} there",
    "403": "access denied; the credentials need {permission} there",
    "InvalidAccessKeyId": "the server does not know this access key; check AWS_ACCESS_KEY_ID or AWS_PROFILE",
    "SignatureDoesNotMatch": "the secret key does not fit the access key; check AWS_SECRET_ACCESS_KEY or AWS_PROFILE",
    "ExpiredToken": "the credentials have expired; get new ones and run the same command again",
    "InvalidToken": "the session token is not valid; check AWS_SESSION_TOKEN",
    "RequestTimeTooSkewed": "the clock of this machine is too far off for signed requests",
    "NoSuchBucket": "there is no bucket '{bucket}'; make it or mend storage.uri",
    "404": "there is no bucket '{bucket}'; make it or mend storage.uri",
    "InvalidBucketName": "'{bucket}' is not a bucket name",
    "PermanentRedirect": "bucket '{bucket}' is in another region; set AWS_REGION to it",
    "AuthorizationHeaderMalformed": "bucket '{bucket}' is in another region; set AWS_REGION to it",
    "SlowDown": "the server asked to slow down until the attempts were used up (SlowDown)",
    "QuotaExceeded": "the quota of the bucket is used up",
    "NotImplemented": "the server does not support this request, {permission} with a condition or checksum",
}


def code_of(error: BaseException) -> str:
    """The server's error code; boto3 wraps the errors of its transfers, so causes are looked through."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, boto.ClientError):
        cause = cause.__cause__ or cause.__context__
    return "" if cause is None else str(cause.response.get("Error", {}).get("Code", ""))


def explain(error: Exception, *, where: str, bucket: str, permission: str) -> StorageError:
    """The StorageError for whatever boto3 raised.

    Args:
        where: The start of the line: which storage, which action, which key.
        permission: The action in an IAM policy that the request takes, such as s3:PutObject.
    """
    code = code_of(error)
    if code in _CAUSES:
        cause = _CAUSES[code].format(bucket=bucket, permission=permission)
    elif code:
        cause = f"the server answered {code} until the attempts were used up"
    else:
        cause = _local_cause(error)
    return StorageError(f"{where}: {cause}")


def _local_cause(error: Exception) -> str:
    """The cause of a request that got no answer. Botocore's own texts are not shown: they may hold whole URLs."""
    if isinstance(error, (boto.NoCredentialsError, boto.PartialCredentialsError)):
        return "no AWS credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if isinstance(error, (boto.ProfileNotFound, boto.ConfigNotFound, boto.ConfigParseError)):
        return "the AWS profile or configuration file cannot be read; check AWS_PROFILE and AWS_CONFIG_FILE"
    if isinstance(error, boto.CredentialRetrievalError):
        return "the AWS credentials could not be fetched from their provider"
    if isinstance(error, (boto.ReadTimeoutError, boto.ConnectTimeoutError)):
        return "the server did not answer in time, through all attempts"
    if isinstance(error, boto.SSLError):
        return "the TLS certificate of the server was not accepted"
    if isinstance(error, (boto.EndpointConnectionError, boto.ProxyConnectionError)):
        return "the server cannot be reached; check storage.endpoint_url and the network"
    if isinstance(error, (boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError)):
        return "the connection broke off, through all attempts"
    if isinstance(error, boto.FlexibleChecksumError):
        return "the content did not match its checksum, through all attempts"
    return type(error).__name__
