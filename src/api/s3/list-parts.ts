/** ListParts. */
import { authorize } from './access.ts';
import { initiatorXml, ownerXml } from './acl-xml.ts';
import { elementOf } from './checksums.ts';
import { abortHeaders } from './lifecycle.ts';
import { replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { STANDARD } from './storage-class.ts';
import { checksumOf, findUpload, uploadsOf } from './upload.ts';
import { document, element, IsoDates, leaf } from './xml.ts';

export async function listParts(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:ListMultipartUploadParts');
  const { query, service } = request;
  const limit = query.count('max-parts', service.limits.maxListKeys);
  const marker = query.has('part-number-marker')
    ? query.count('part-number-marker', 0x7fff_ffff)
    : 0;
  const upload = await findUpload(request, bucket);
  const { algorithm, type, asked } = checksumOf(upload);
  const parts = (await uploadsOf(request).parts(request, upload)).filter(
    ({ number }) => number > marker,
  );
  const page = parts.slice(0, limit);
  const truncated = parts.length > page.length && limit > 0;
  const dates = new IsoDates();
  const items = page.map((part) =>
    element(
      'Part',
      leaf('PartNumber', part.number) +
        leaf('LastModified', dates.format(part.clientMicros)) +
        leaf('ETag', `"${part.etag}"`) +
        leaf('Size', part.size) +
        leaf(elementOf(algorithm), asked ? part.checksums[algorithm] : undefined),
    ),
  );
  replyXml(
    request,
    document(
      'ListPartsResult',
      leaf('Bucket', bucket.container) +
        leaf('Key', request.key) +
        leaf('UploadId', upload.uploadId) +
        initiatorXml(request, bucket.account, upload.record.initiator) +
        ownerXml(request, bucket.account) +
        leaf('StorageClass', STANDARD) +
        leaf('PartNumberMarker', marker) +
        leaf('NextPartNumberMarker', page.at(-1)?.number ?? 0) +
        leaf('MaxParts', limit) +
        leaf('IsTruncated', truncated) +
        (asked ? leaf('ChecksumAlgorithm', algorithm.toUpperCase()) : '') +
        (asked ? leaf('ChecksumType', type) : '') +
        items.join(''),
    ),
    abortHeaders(request, bucket, upload.record.startedMicros),
  );
}
