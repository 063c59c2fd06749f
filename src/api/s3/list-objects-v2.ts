/** ListObjectsV2. */
import { authorize } from './access.ts';
import { ownerXml } from './acl-xml.ts';
import { regionHeader } from './bucket-region.ts';
import { continuationToken, tokenText } from './continuation-token.ts';
import { refuse } from './errors.ts';
import { echoXml, itemsXml, listPage, listParameters, shown } from './listing.ts';
import { replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { document, leaf } from './xml.ts';

export async function listObjectsV2(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:ListBucket');
  const { query } = request;
  const parameters = listParameters(request);
  const token = query.get('continuation-token');
  if (token === '') throw refuse('InvalidArgument', 'The continuation token provided is incorrect');
  const startAfter = query.get('start-after');
  const after = continuationToken(token) ?? startAfter;
  const page = await listPage(request, bucket, parameters, after);
  const { encoded, limit } = parameters;
  const owner = query.get('fetch-owner') === 'true' ? ownerXml(request, bucket.account) : '';
  const next = page.truncated ? page.last : undefined;
  replyXml(
    request,
    document(
      'ListBucketResult',
      leaf('Name', bucket.container) +
        echoXml(parameters) +
        leaf('MaxKeys', limit) +
        leaf('KeyCount', page.items.length) +
        leaf('IsTruncated', page.truncated) +
        leaf('ContinuationToken', token) +
        leaf('NextContinuationToken', next === undefined ? undefined : tokenText(next)) +
        leaf('StartAfter', startAfter === undefined ? undefined : shown(startAfter, encoded)) +
        itemsXml(page.items, { encoded, owner }),
    ),
    regionHeader(request, bucket),
  );
}
