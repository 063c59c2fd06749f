/** DeleteObjects: up to 1,000 keys in one request, each with an outcome of its own. */
import { codeOf } from '#base/errors.ts';
import type { Removal } from '#proxy/versions/contract.ts';
import { parallel } from '../http/parallel.ts';
import { checkAccess, expectedBucket, objectName } from './access.ts';
import type { Bucket } from './bucket.ts';
import { type DeleteTerms, deleteTerms } from './conditions.ts';
import { remove } from './delete-object.ts';
import { errorAnswer, refuse } from './errors.ts';
import { replyWhenDone } from './heartbeat.ts';
import { readDocument } from './payload.ts';
import { checkKey, type S3Request } from './request.ts';
import { checkVersionId } from './version-id.ts';
import { document, element, leaf } from './xml.ts';
import { children, readXml, requiredText, textOf, type XmlElement } from './xml-reader.ts';

interface Doomed {
  readonly key: string;
  readonly versionId: string | undefined;
  readonly terms: DeleteTerms;
}

export async function deleteObjects(request: S3Request): Promise<void> {
  const bucket = await expectedBucket(request);
  const { limits } = request.service;
  const root = readXml(await readDocument(request, limits.maxListDocumentBytes), 'Delete');
  const doomed = children(root, 'Object').map(parseDoomed);
  if (doomed.length === 0 || doomed.length > limits.maxDeletes) throw refuse('MalformedXML');
  const quiet = textOf(root, 'Quiet')?.trim().toLowerCase() === 'true';
  const results: string[] = Array.from({ length: doomed.length }, () => '');
  // A thousand keys of a bucket across far sites take longer than some clients wait in silence.
  await replyWhenDone(request, async () => {
    await parallel(doomed.entries(), limits.concurrency, async ([i, item]) => {
      results[i] = await deleteOne(request, bucket, item, quiet);
    });
    return { xml: document('DeleteResult', results.join('')) };
  });
}

function parseDoomed(item: XmlElement): Doomed {
  const key = requiredText(item, 'Key');
  if (key === '') throw refuse('MalformedXML');
  return {
    key,
    versionId: textOf(item, 'VersionId'),
    terms: {
      etag: textOf(item, 'ETag'),
      size: textOf(item, 'Size'),
      time: textOf(item, 'LastModifiedTime'),
    },
  };
}

/** Its element in the answer. */
async function deleteOne(
  request: S3Request,
  bucket: Bucket,
  { key, versionId, terms }: Doomed,
  quiet: boolean,
): Promise<string> {
  const about = leaf('Key', key) + leaf('VersionId', versionId);
  try {
    checkKey(request, key);
    if (versionId !== undefined) checkVersionId(versionId);
    await checkAccess(request, bucket, 's3:DeleteObject', key, versionId);
    const name = objectName(bucket, key, versionId);
    const removal = await remove(request, bucket, name, deleteTerms(key, terms));
    return quiet ? '' : element('Deleted', about + markerXml(removal));
  } catch (error) {
    if (codeOf(error) === 'client-gone') throw error;
    const { code, message } = errorAnswer(error);
    return element('Error', about + leaf('Code', code) + leaf('Message', message));
  }
}

/** That a delete marker was made or deleted, and which. */
function markerXml({ deleteMarker, versionId }: Removal): string {
  if (deleteMarker !== true) return '';
  return leaf('DeleteMarker', true) + leaf('DeleteMarkerVersionId', versionId);
}
