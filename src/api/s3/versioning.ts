/** GetBucketVersioning, PutBucketVersioning: whether the versions of a bucket's objects are kept. */
import { VERSIONING_HEADER, VERSIONING_STATES, versioningOf } from '#proxy/versions/contract.ts';
import { locksObjects } from '#proxy/versions/lock.ts';
import { authorize } from './access.ts';
import { configureWrites } from './configure.ts';
import { refuse } from './errors.ts';
import { readDocument } from './payload.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { document, leaf } from './xml.ts';
import { readXml, requiredText, textOf } from './xml-reader.ts';

export async function getBucketVersioning(request: S3Request): Promise<void> {
  const { info } = await authorize(request, 's3:GetBucketVersioning');
  replyXml(request, document('VersioningConfiguration', leaf('Status', versioningOf(info))));
}

/** Once enabled, versioning can be suspended, never switched off: versions stay. */
export async function putBucketVersioning(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutBucketVersioning');
  const body = await readDocument(request, request.service.limits.maxDocumentBytes);
  const root = readXml(body, 'VersioningConfiguration');
  const status = requiredText(root, 'Status').trim();
  const versioning = VERSIONING_STATES.find((known) => known === status);
  if (versioning === undefined) throw refuse('IllegalVersioningConfigurationException');
  const mfaDelete = textOf(root, 'MfaDelete')?.trim();
  if (mfaDelete !== undefined && mfaDelete !== 'Disabled') {
    if (mfaDelete !== 'Enabled') throw refuse('MalformedXML');
    throw refuse('NotImplemented', undefined, { Header: 'MfaDelete' });
  }
  // What is current is decided by the conditional rounds, which other modes do not have.
  if (bucket.info.mode !== 'strict') {
    throw refuse('NotImplemented', undefined, { Header: 'versioning' });
  }
  // As it is now: a cached answer could be older than the lock.
  const info = await request.service.store.containerInfo(request, bucket, true);
  if (versioning === 'Suspended' && info !== undefined && locksObjects(info)) {
    throw refuse(
      'InvalidBucketState',
      'An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.',
    );
  }
  await configureWrites(request, bucket, { [VERSIONING_HEADER]: versioning });
  replyEmpty(request, 200);
}
