/** ListBuckets: the containers of the signer's project, by pages where a page size is asked for. */
import { mayInAccount } from './access.ts';
import { ownerXml } from './acl-xml.ts';
import { ownAccount } from './bucket.ts';
import { inRegion } from './bucket-region.ts';
import { resourceOf } from './bucket-rules.ts';
import { continuationToken, tokenText } from './continuation-token.ts';
import { refuse } from './errors.ts';
import type { Query } from './query.ts';
import { replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { document, element, IsoDates, leaf } from './xml.ts';

const MAX_BUCKETS = 10_000;

export async function listBuckets(request: S3Request): Promise<void> {
  const account = ownAccount(request);
  const may =
    account !== undefined && mayInAccount(request, account, 's3:ListAllMyBuckets', resourceOf('*'));
  if (!may) throw refuse('AccessDenied');
  const { query, service } = request;
  const limit = pageSize(query);
  const prefix = query.get('prefix') || undefined;
  const marker = continuationToken(query.get('continuation-token'));
  const page = await service.store.listContainers(request, account, {
    limit,
    ...(prefix !== undefined && { prefix }),
    ...(marker !== undefined && { marker }),
  });
  const dates = new IsoDates();
  const buckets = (page?.items ?? []).flatMap((item) => ('prefix' in item ? [] : [item]));
  const region = query.get('bucket-region') || undefined;
  // A page may have fewer than were asked for; the token goes on behind the last one looked at.
  const shown = region === undefined ? buckets : await inRegion(request, account, buckets, region);
  const items = shown.map(({ name, clientMicros }) => {
    const date = leaf('CreationDate', dates.format(clientMicros));
    return element('Bucket', leaf('Name', name) + date + leaf('BucketRegion', region));
  });
  const last = buckets.at(-1)?.name ?? '';
  replyXml(
    request,
    document(
      'ListAllMyBucketsResult',
      ownerXml(request, account) +
        element('Buckets', items.join('')) +
        leaf('Prefix', prefix) +
        leaf('ContinuationToken', page?.truncated === true ? tokenText(last) : undefined),
    ),
  );
}

/** @throws S3Error InvalidArgument */
function pageSize(query: Query): number {
  const wanted = query.count('max-buckets', MAX_BUCKETS + 1);
  if (!query.get('max-buckets')) return MAX_BUCKETS;
  if (wanted >= 1 && wanted <= MAX_BUCKETS) return wanted;
  const range = `must be an integer between 1 and ${MAX_BUCKETS}`;
  throw refuse('InvalidArgument', `Argument max-buckets ${range}`, {
    ArgumentName: 'max-buckets',
    ArgumentValue: query.get('max-buckets') ?? '',
  });
}
