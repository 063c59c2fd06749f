/** ListObjects (version 1). */

import { authorize } from './access.ts';
import { ownerXml } from './acl-xml.ts';
import { regionHeader } from './bucket-region.ts';
import {
  echoXml,
  itemsXml,
  listPage,
  listParameters,
  markerBehindPrefix,
  shown,
} from './listing.ts';
import { replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { document, leaf } from './xml.ts';

export async function listObjects(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:ListBucket');
  const parameters = listParameters(request);
  const marker = request.query.get('marker');
  const after = markerBehindPrefix(marker, parameters);
  const page = await listPage(request, bucket, parameters, after);
  const { encoded, limit, delimiter } = parameters;
  // Without a delimiter the last key says where to go on.
  const next = page.truncated && delimiter !== '' ? page.last : undefined;
  replyXml(
    request,
    document(
      'ListBucketResult',
      leaf('Name', bucket.container) +
        echoXml(parameters) +
        leaf('Marker', shown(marker ?? '', encoded)) +
        leaf('MaxKeys', limit) +
        leaf('IsTruncated', page.truncated) +
        leaf('NextMarker', next === undefined ? undefined : shown(next, encoded)) +
        itemsXml(page.items, { encoded, owner: ownerXml(request, bucket.account) }),
    ),
    regionHeader(request, bucket),
  );
}
