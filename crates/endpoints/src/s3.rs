//! S3's operations, over the store. Requests come here with their signature checked.

mod answer;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use crate::store::{
    Asked, Deleted, NamedPart, Only, Said, Store, Version, Versioning, Versions, Wish, gone,
    internal,
};
use crate::sums::{Algorithm, answer_sums, sums, wanted};
use answer::{
    copied_range, decode_token, encode_token, encoded, only, page_size, read_condition,
    source_condition, tag, time,
};

/// The most keys of one DeleteObjects (API reference).
const MAX_DELETED: usize = 1_000;
/// The most bytes of metadata (user guide, *Working with object metadata*).
const MAX_METADATA_BYTES: usize = 2 << 10;

/// What serves S3.
#[derive(Clone)]
pub(crate) struct Service {
    store: Arc<Store>,
}

impl Service {
    pub(crate) const fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Asks the store on a thread that may block.
    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Store) -> S3Result<T> + Send + 'static,
    ) -> S3Result<T> {
        let store = self.store.clone();
        let asked = tokio::task::spawn_blocking(move || ask(&store));
        asked
            .await
            .map_err(|panic| internal(std::io::Error::other(panic)))?
    }
}

/// What is said with an object, as requests have it in fields of these names.
macro_rules! said {
    ($input:expr) => {
        said(
            $input.metadata,
            Said {
                metadata: BTreeMap::new(),
                content_type: $input.content_type,
                content_encoding: $input.content_encoding,
                content_disposition: $input.content_disposition,
                content_language: $input.content_language,
                cache_control: $input.cache_control,
            },
        )
    };
}

fn said(metadata: Option<Metadata>, said: Said) -> S3Result<Said> {
    let metadata: BTreeMap<_, _> = metadata.unwrap_or_default().into_iter().collect();
    let bytes: usize = metadata.iter().map(|(k, v)| k.len() + v.len()).sum();
    if bytes > MAX_METADATA_BYTES {
        return Err(s3_error!(
            MetadataTooLarge,
            "expected at most {MAX_METADATA_BYTES} bytes of metadata, found {bytes}"
        ));
    }
    Ok(Said { metadata, ..said })
}

/// Fields that answers to GET and HEAD have in common.
macro_rules! answer_content {
    ($output:expr, $version:expr, $content:expr, $with_sums:expr) => {{
        let said = $content.said;
        $output.accept_ranges = Some("bytes".to_owned());
        $output.last_modified = Some(time($version.modified));
        $output.e_tag = Some(tag(&$content.tag));
        $output.version_id = Some($version.id);
        $output.metadata = Some(said.metadata.into_iter().collect());
        $output.content_type = said.content_type;
        $output.content_encoding = said.content_encoding;
        $output.content_disposition = said.content_disposition;
        $output.content_language = said.content_language;
        $output.cache_control = said.cache_control;
        if $with_sums {
            $output.checksum_type = $content.sums.kind();
            answer_sums!($output, $content.sums);
        }
    }};
}

type Answer<T> = S3Result<S3Response<T>>;

fn answer<T>(output: T) -> Answer<T> {
    Ok(S3Response::new(output))
}

#[async_trait]
impl S3 for Service {
    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> Answer<CreateBucketOutput> {
        let name = request.input.bucket;
        let location = Some(format!("/{name}"));
        self.ask(move |store| store.create_bucket(&name)).await?;
        answer(CreateBucketOutput { location })
    }

    async fn delete_bucket(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> Answer<DeleteBucketOutput> {
        let name = request.input.bucket;
        self.ask(move |store| store.delete_bucket(&name)).await?;
        answer(DeleteBucketOutput {})
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        self.store.bucket(&request.input.bucket)?;
        answer(HeadBucketOutput::default())
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> Answer<GetBucketLocationOutput> {
        self.store.bucket(&request.input.bucket)?;
        answer(GetBucketLocationOutput::default())
    }

    async fn list_buckets(&self, _: S3Request<ListBucketsInput>) -> Answer<ListBucketsOutput> {
        let buckets = self
            .store
            .buckets()
            .into_iter()
            .map(|(name, record)| Bucket {
                bucket_region: None,
                creation_date: Some(time(record.made)),
                name: Some(name),
            });
        answer(ListBucketsOutput {
            buckets: Some(buckets.collect()),
            ..Default::default()
        })
    }

    async fn put_bucket_versioning(
        &self,
        request: S3Request<PutBucketVersioningInput>,
    ) -> Answer<PutBucketVersioningOutput> {
        let PutBucketVersioningInput {
            bucket,
            versioning_configuration,
            ..
        } = request.input;
        let status = versioning_configuration.status;
        let is_enabled = match status.as_ref().map(BucketVersioningStatus::as_str) {
            Some(BucketVersioningStatus::ENABLED) => true,
            Some(BucketVersioningStatus::SUSPENDED) => false,
            other => {
                return Err(s3_error!(
                    IllegalVersioningConfigurationException,
                    "expected Enabled or Suspended, found {other:?}"
                ));
            }
        };
        self.ask(move |store| store.set_versioning(&bucket, is_enabled))
            .await?;
        answer(PutBucketVersioningOutput {})
    }

    async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> Answer<GetBucketVersioningOutput> {
        let status = match self.store.bucket(&request.input.bucket)?.versioning {
            Versioning::Off => None,
            Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
            Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
        };
        answer(GetBucketVersioningOutput {
            status: status.map(BucketVersioningStatus::from_static),
            ..Default::default()
        })
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        let S3Request {
            mut input,
            headers,
            trailing_headers,
            ..
        } = request;
        let only = only(input.if_match.take(), input.if_none_match.take())?;
        // Before the bytes are taken, to save the sending; it decides nothing.
        self.store.bucket(&input.bucket)?;
        let mut declared = sums!(input);
        let named = input
            .checksum_algorithm
            .as_ref()
            .map(ChecksumAlgorithm::as_str);
        let wanted = wanted(&declared, named, &headers)?;
        let body = input.body.take().ok_or_else(|| s3_error!(IncompleteBody))?;
        let (bytes, hashed) = self.store.receive(body, &wanted).await?;
        if let Some(trailers) = trailing_headers.and_then(|trailers| trailers.take()) {
            declared.add_trailers(&trailers);
        }
        answer::check_body(input.content_md5.as_deref(), input.content_length, &hashed)?;
        hashed.sums.check(&declared)?;
        let said = said!(input)?;
        let sums = hashed.sums.clone();
        let (bucket, key) = (input.bucket, input.key);
        let put = move |store: &Store| store.put([&bucket, &key], bytes, hashed, said, &only);
        let version = self.ask(put).await?;
        let mut output = PutObjectOutput {
            e_tag: version.content.map(|content| tag(&content.tag)),
            version_id: named_version(version.id),
            checksum_type: sums.kind(),
            ..Default::default()
        };
        answer_sums!(output, sums);
        answer(output)
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
        let input = request.input;
        let named = input
            .checksum_algorithm
            .as_ref()
            .map(ChecksumAlgorithm::as_str);
        let asked = named.map(Algorithm::parse).transpose()?;
        let replaces = input
            .metadata_directive
            .as_ref()
            .is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
        let condition = (
            input.copy_source_if_match.clone(),
            input.copy_source_if_none_match.clone(),
        );
        let new = said!(input)?;
        let (bucket, key) = (input.bucket, input.key);
        let source = source_of(input.copy_source)?;
        let copy = move |store: &Store| {
            let (from, id) = (&source.0, source.1.as_deref());
            let (version, content, opened) = store.open_version(&from[0], &from[1], id)?;
            source_condition(&content.tag, &condition)?;
            // As S3: what the client names, else what the source has, else a CRC64NVME.
            let kept = content.sums.algorithms().next();
            let algorithm = asked.or(kept).unwrap_or(Algorithm::Crc64Nvme);
            let whole = std::iter::once(Ok((opened, 0..content.size)));
            let (bytes, hashed) = store.copy(whole, &[algorithm])?;
            let said = if replaces { new } else { content.said };
            let sums = hashed.sums.clone();
            let copied = store.put([&bucket, &key], bytes, hashed, said, &Only::Always)?;
            Ok((version, copied, sums))
        };
        let (version, copied, sums) = self.ask(copy).await?;
        let mut result = CopyObjectResult {
            checksum_type: sums.kind(),
            e_tag: copied.content.map(|content| tag(&content.tag)),
            last_modified: Some(time(copied.modified)),
            ..Default::default()
        };
        answer_sums!(result, sums);
        answer(CopyObjectOutput {
            copy_object_result: Some(result),
            copy_source_version_id: named_version(version.id),
            version_id: named_version(copied.id),
            ..Default::default()
        })
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        let input = request.input;
        if input.part_number.is_some() {
            return Err(s3_error!(NotImplemented, "partNumber"));
        }
        let (bucket, key, id) = (input.bucket, input.key, input.version_id);
        let open = move |store: &Store| store.open_version(&bucket, &key, id.as_deref());
        let (version, content, opened) = self.ask(open).await?;
        read_condition(&content.tag, input.if_match, input.if_none_match)?;
        let size = content.size;
        let range = match input.range {
            Some(range) => range.check(size)?,
            None => 0..size,
        };
        let length = range.end - range.start;
        let said_range = input.range.map(|_| {
            format!(
                "bytes {}-{}/{size}",
                range.start,
                range.end.saturating_sub(1)
            )
        });
        let mut output = GetObjectOutput {
            body: Some(opened.body(range).await.map_err(internal)?),
            content_length: i64::try_from(length).ok(),
            content_range: said_range,
            ..Default::default()
        };
        // Of a range S3 says none: it would be of other bytes.
        let with_sums = input.checksum_mode.is_some() && length == size;
        answer_content!(output, version, content, with_sums);
        answer(output)
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        let input = request.input;
        if input.part_number.is_some() {
            return Err(s3_error!(NotImplemented, "partNumber"));
        }
        let id = input.version_id.as_deref();
        let version = self.store.find(&input.bucket, &input.key, id)?;
        let Some(content) = version.content.clone() else {
            return Err(gone(id.is_some()));
        };
        read_condition(&content.tag, input.if_match, input.if_none_match)?;
        let mut output = HeadObjectOutput {
            content_length: i64::try_from(content.size).ok(),
            ..Default::default()
        };
        answer_content!(output, version, content, input.checksum_mode.is_some());
        answer(output)
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> Answer<DeleteObjectOutput> {
        let input = request.input;
        let only = only(input.if_match, None)?;
        let (bucket, key, id) = (input.bucket, input.key, input.version_id);
        let delete = move |store: &Store| store.delete(&bucket, &key, id.as_deref(), &only);
        let deleted = self.ask(delete).await?;
        answer(DeleteObjectOutput {
            delete_marker: deleted.is_marker.then_some(true),
            version_id: deleted.version,
            ..Default::default()
        })
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> Answer<DeleteObjectsOutput> {
        let DeleteObjectsInput { bucket, delete, .. } = request.input;
        if delete.objects.is_empty() || delete.objects.len() > MAX_DELETED {
            return Err(s3_error!(
                MalformedXML,
                "expected 1 to {MAX_DELETED} keys, found {}",
                delete.objects.len()
            ));
        }
        let is_quiet = delete.quiet.unwrap_or(false);
        let work = move |store: &Store| {
            store.bucket(&bucket)?;
            let (mut deleted, mut errors) = (Vec::new(), Vec::new());
            for ObjectIdentifier {
                key, version_id, ..
            } in delete.objects
            {
                match store.delete(&bucket, &key, version_id.as_deref(), &Only::Always) {
                    Ok(_) if is_quiet => {}
                    Ok(Deleted { version, is_marker }) => deleted.push(DeletedObject {
                        key: Some(key),
                        delete_marker: is_marker.then_some(true),
                        delete_marker_version_id: version.filter(|_| is_marker),
                        version_id,
                    }),
                    Err(error) => errors.push(Error {
                        code: Some(error.code().as_str().to_owned()),
                        key: Some(key),
                        message: error.message().map(str::to_owned),
                        version_id,
                    }),
                }
            }
            Ok((deleted, errors))
        };
        let (deleted, errors) = self.ask(work).await?;
        answer(DeleteObjectsOutput {
            deleted: Some(deleted),
            errors: Some(errors),
            ..Default::default()
        })
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> Answer<ListObjectsV2Output> {
        let input = request.input;
        let most = page_size(input.max_keys)?;
        let token = input.continuation_token.as_deref();
        let resumed = token.map(decode_token).transpose()?;
        let wish = Wish {
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: input.delimiter.as_deref(),
            after: resumed.as_deref().or(input.start_after.as_deref()),
            most,
        };
        let listed = self.store.list(&input.bucket, &wish)?;
        let is_url = input.encoding_type.is_some();
        let count = listed.keys.len() + listed.prefixes.len();
        let prefixes = listed.prefixes.into_iter().map(|prefix| CommonPrefix {
            prefix: Some(encoded(prefix, is_url)),
        });
        let contents = listed
            .keys
            .into_iter()
            .map(|(key, version, content)| Object {
                checksum_algorithm: Some(
                    content
                        .sums
                        .algorithms()
                        .map(|a| ChecksumAlgorithm::from_static(a.name()))
                        .collect(),
                ),
                checksum_type: content.sums.kind(),
                e_tag: Some(tag(&content.tag)),
                key: Some(encoded(key, is_url)),
                last_modified: Some(time(version.modified)),
                size: i64::try_from(content.size).ok(),
                storage_class: Some(ObjectStorageClass::from_static(
                    ObjectStorageClass::STANDARD,
                )),
                ..Default::default()
            });
        answer(ListObjectsV2Output {
            contents: Some(contents.collect()),
            common_prefixes: Some(prefixes.collect()),
            key_count: i32::try_from(count).ok(),
            max_keys: i32::try_from(most).ok(),
            is_truncated: Some(listed.next.is_some()),
            next_continuation_token: listed.next.as_deref().map(encode_token),
            continuation_token: input.continuation_token,
            name: Some(input.bucket),
            prefix: input.prefix.map(|prefix| encoded(prefix, is_url)),
            delimiter: input.delimiter.map(|delimiter| encoded(delimiter, is_url)),
            start_after: input.start_after.map(|after| encoded(after, is_url)),
            encoding_type: input.encoding_type,
            ..Default::default()
        })
    }

    async fn list_objects(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> Answer<ListObjectsOutput> {
        let marker = request.input.marker.clone();
        let listed = self.list_objects_v2(request.map_input(Into::into)).await?;
        let next = listed.output.next_continuation_token.as_deref();
        let next_marker = next.map(decode_token).transpose()?;
        Ok(listed.map_output(|v2| ListObjectsOutput {
            contents: v2.contents,
            common_prefixes: v2.common_prefixes,
            delimiter: v2.delimiter,
            encoding_type: v2.encoding_type,
            name: v2.name,
            prefix: v2.prefix,
            max_keys: v2.max_keys,
            is_truncated: v2.is_truncated,
            marker,
            next_marker,
            ..Default::default()
        }))
    }

    async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> Answer<ListObjectVersionsOutput> {
        let input = request.input;
        if input.delimiter.is_some() {
            return Err(s3_error!(NotImplemented, "delimiter"));
        }
        let most = page_size(input.max_keys)?;
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let after = input.key_marker.as_deref();
        let after = after.map(|key| (key, input.version_id_marker.as_deref()));
        let Versions {
            found,
            more: is_cut,
        } = self.store.versions(&input.bucket, prefix, after, most)?;
        let is_url = input.encoding_type.is_some();
        let last = found.last().filter(|_| is_cut);
        let (next_key_marker, next_version_id_marker) = last
            .map(|(key, version, _)| (encoded(key.clone(), is_url), version.id.clone()))
            .unzip();
        let (mut versions, mut markers) = (Vec::new(), Vec::new());
        for (key, version, is_latest) in found {
            let key = Some(encoded(key, is_url));
            let modified = Some(time(version.modified));
            let Some(content) = version.content else {
                markers.push(DeleteMarkerEntry {
                    is_latest: Some(is_latest),
                    key,
                    last_modified: modified,
                    version_id: Some(version.id),
                    ..Default::default()
                });
                continue;
            };
            versions.push(ObjectVersion {
                e_tag: Some(tag(&content.tag)),
                is_latest: Some(is_latest),
                key,
                last_modified: modified,
                size: i64::try_from(content.size).ok(),
                version_id: Some(version.id),
                ..Default::default()
            });
        }
        answer(ListObjectVersionsOutput {
            versions: Some(versions),
            delete_markers: Some(markers),
            is_truncated: Some(is_cut),
            next_key_marker,
            next_version_id_marker,
            name: Some(input.bucket),
            prefix: input.prefix.map(|prefix| encoded(prefix, is_url)),
            encoding_type: input.encoding_type,
            ..Default::default()
        })
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        let input = request.input;
        let named = input.checksum_algorithm.clone();
        let algorithm = named.as_ref().map(|name| Algorithm::parse(name.as_str()));
        let algorithm = algorithm.transpose()?;
        let asked = input.checksum_type.as_ref().map(ChecksumType::as_str);
        let is_whole = match algorithm {
            Some(algorithm) => algorithm.is_whole(asked)?,
            None => true,
        };
        let said = said!(input)?;
        let (bucket, key) = (input.bucket, input.key);
        let at = [bucket.clone(), key.clone()];
        let begin = move |store: &Store| store.begin([&at[0], &at[1]], said, algorithm, is_whole);
        let id = self.ask(begin).await?;
        answer(CreateMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            upload_id: Some(id),
            checksum_type: named.as_ref().map(|_| {
                ChecksumType::from_static(match is_whole {
                    true => ChecksumType::FULL_OBJECT,
                    false => ChecksumType::COMPOSITE,
                })
            }),
            checksum_algorithm: named,
            ..Default::default()
        })
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
        let S3Request {
            mut input,
            headers,
            trailing_headers,
            ..
        } = request;
        let at = [
            input.bucket.clone(),
            input.key.clone(),
            input.upload_id.clone(),
        ];
        let needed = self.store.part_algorithm([&at[0], &at[1], &at[2]])?;
        let mut declared = sums!(input);
        let named = input
            .checksum_algorithm
            .as_ref()
            .map(ChecksumAlgorithm::as_str);
        let mut wanted = wanted(&declared, named, &headers)?;
        wanted.extend(needed);
        let body = input.body.take().ok_or_else(|| s3_error!(IncompleteBody))?;
        let (bytes, hashed) = self.store.receive(body, &wanted).await?;
        if let Some(trailers) = trailing_headers.and_then(|trailers| trailers.take()) {
            declared.add_trailers(&trailers);
        }
        answer::check_body(input.content_md5.as_deref(), input.content_length, &hashed)?;
        hashed.sums.check(&declared)?;
        let mut output = UploadPartOutput {
            e_tag: Some(ETag::Strong(hex::encode(hashed.md5))),
            ..Default::default()
        };
        answer_sums!(output, hashed.sums.clone());
        let number = input.part_number;
        let put =
            move |store: &Store| store.put_part([&at[0], &at[1], &at[2]], number, bytes, hashed);
        self.ask(put).await?;
        answer(output)
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> Answer<UploadPartCopyOutput> {
        let input = request.input;
        let condition = (
            input.copy_source_if_match.clone(),
            input.copy_source_if_none_match.clone(),
        );
        let source = source_of(input.copy_source)?;
        let at = [input.bucket, input.key, input.upload_id];
        let (number, range) = (input.part_number, input.copy_source_range);
        let copy = move |store: &Store| {
            let at = [at[0].as_str(), &at[1], &at[2]];
            let algorithm = store.part_algorithm(at)?;
            let (from, id) = (&source.0, source.1.as_deref());
            let (version, content, opened) = store.open_version(&from[0], &from[1], id)?;
            source_condition(&content.tag, &condition)?;
            let range = copied_range(range.as_deref(), content.size)?;
            let algorithm = algorithm.unwrap_or(Algorithm::Crc64Nvme);
            let (bytes, hashed) = store.copy(std::iter::once(Ok((opened, range))), &[algorithm])?;
            let mut result = CopyPartResult {
                e_tag: Some(ETag::Strong(hex::encode(hashed.md5))),
                last_modified: Some(time(jiff::Timestamp::now())),
                ..Default::default()
            };
            answer_sums!(result, hashed.sums.clone());
            store.put_part(at, number, bytes, hashed)?;
            Ok((version, result))
        };
        let (version, result) = self.ask(copy).await?;
        answer(UploadPartCopyOutput {
            copy_part_result: Some(result),
            copy_source_version_id: named_version(version.id),
            ..Default::default()
        })
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        let input = request.input;
        let size = match input.mpu_object_size {
            Some(size) => Some(u64::try_from(size).map_err(|_| s3_error!(InvalidArgument))?),
            None => None,
        };
        let sums = sums!(input);
        let only = only(input.if_match, input.if_none_match)?;
        let parts = input.multipart_upload.and_then(|upload| upload.parts);
        let parts = parts.unwrap_or_default().into_iter().map(|part| {
            let number = part
                .part_number
                .and_then(|number| u32::try_from(number).ok());
            Ok(NamedPart {
                number: number.ok_or_else(|| s3_error!(InvalidPart))?,
                sums: sums!(part),
                tag: part.e_tag.map(|tag| tag.value().to_owned()),
            })
        });
        let asked = Asked {
            parts: parts.collect::<S3Result<_>>()?,
            sums,
            size,
            only,
        };
        let (bucket, key) = (input.bucket, input.key);
        let at = [bucket.clone(), key.clone(), input.upload_id];
        let complete = move |store: &Store| store.complete([&at[0], &at[1], &at[2]], &asked);
        let Version { id, content, .. } = self.ask(complete).await?;
        let mut output = CompleteMultipartUploadOutput {
            location: Some(format!("/{bucket}/{key}")),
            bucket: Some(bucket),
            key: Some(key),
            version_id: named_version(id),
            ..Default::default()
        };
        if let Some(content) = content {
            output.e_tag = Some(tag(&content.tag));
            output.checksum_type = content.sums.kind();
            answer_sums!(output, content.sums);
        }
        answer(output)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        let AbortMultipartUploadInput {
            bucket,
            key,
            upload_id,
            ..
        } = request.input;
        self.ask(move |store| store.abort([&bucket, &key, &upload_id]))
            .await?;
        answer(AbortMultipartUploadOutput::default())
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> Answer<ListMultipartUploadsOutput> {
        let input = request.input;
        let most = page_size(input.max_uploads)?;
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let after = input.key_marker.as_deref().map(|key| {
            let id = input.upload_id_marker.as_deref();
            (key, id.filter(|id| !id.is_empty()))
        });
        let all = self.store.uploads(&input.bucket, prefix)?;
        let mut rest = all.into_iter().filter(|(key, id, _)| match after {
            Some((last, Some(last_id))) => (key.as_str(), id.as_str()) > (last, last_id),
            Some((last, None)) => key.as_str() > last,
            None => true,
        });
        let page: Vec<_> = rest.by_ref().take(most).collect();
        let is_cut = rest.next().is_some();
        let is_url = input.encoding_type.is_some();
        let last = page.last().filter(|_| is_cut);
        let (next_key_marker, next_upload_id_marker) = last
            .map(|(key, id, _)| (encoded(key.clone(), is_url), id.clone()))
            .unzip();
        let uploads = page.into_iter().map(|(key, id, begun)| MultipartUpload {
            initiated: Some(time(begun)),
            key: Some(encoded(key, is_url)),
            upload_id: Some(id),
            ..Default::default()
        });
        answer(ListMultipartUploadsOutput {
            uploads: Some(uploads.collect()),
            bucket: Some(input.bucket),
            is_truncated: Some(is_cut),
            next_key_marker,
            next_upload_id_marker,
            encoding_type: input.encoding_type,
            ..Default::default()
        })
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> Answer<ListPartsOutput> {
        let input = request.input;
        let most = page_size(input.max_parts)?;
        let at = [input.bucket.as_str(), &input.key, &input.upload_id];
        let after = input.part_number_marker.unwrap_or(0);
        let mut rest = self
            .store
            .parts(at)?
            .into_iter()
            .filter_map(|(number, part)| {
                let number = i32::try_from(number).ok()?;
                (number > after).then_some((number, part))
            });
        let page: Vec<_> = rest.by_ref().take(most).collect();
        let is_cut = rest.next().is_some();
        let last = page.last().map(|(number, _)| *number);
        let parts = page.into_iter().map(|(number, part)| {
            let mut output = Part {
                e_tag: Some(ETag::Strong(hex::encode(part.md5))),
                last_modified: Some(time(part.modified)),
                part_number: Some(number),
                size: i64::try_from(part.size).ok(),
                ..Default::default()
            };
            answer_sums!(output, part.sums);
            output
        });
        answer(ListPartsOutput {
            parts: Some(parts.collect()),
            is_truncated: Some(is_cut),
            next_part_number_marker: last.filter(|_| is_cut),
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            ..Default::default()
        })
    }
}

/// Answers say no version where the bucket keeps none.
fn named_version(id: String) -> Option<String> {
    (id != "null").then_some(id)
}

/// Bucket and key of a copy's source, and its version.
fn source_of(source: CopySource) -> S3Result<([String; 2], Option<String>)> {
    match source {
        CopySource::Bucket {
            bucket,
            key,
            version_id,
        } => Ok((
            [bucket.into_string(), key.into_string()],
            version_id.map(String::from),
        )),
        _ => Err(s3_error!(NotImplemented, "access points")),
    }
}
