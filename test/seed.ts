/**
 * Property tests draw from one seed, so that each run is like the one before. To look further:
 * `FC_SEED=random npm test`, or a number. A failure prints its seed.
 */
import fc from 'fast-check';

const given = process.env['FC_SEED'];
if (given !== 'random') fc.configureGlobal({ seed: Number(given ?? 20_261_121) });
