// What the operations page makes of figures, without a browser.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { load } from './bundle.mjs';

const { parse, gauge, nodeOf, rate, ratesBy, quantile } = await load('ops/metrics.ts');
const { withSamples } = await load('ops/samples.ts');
const { ago, bytes, duration, number, plain, seconds } = await load('ops/words.ts');

const sample = (at, text) => ({ at, figures: parse(text) });

describe('figures', () => {
  it('are read from the Prometheus text format', () => {
    const figures = parse('# HELP a words\n# TYPE a counter\na 1\nb{x="1",y="two words"} 2.5e3\nc_bucket{le="+Inf"} +Inf\n\nnonsense\n');
    assert.deepEqual([...figures], [['a', 1], ['b{x="1",y="two words"}', 2500], ['c_bucket{le="+Inf"}', Infinity]]);
    assert.equal(gauge({ at: 0, figures }, 'a'), 1);
    assert.equal(gauge({ at: 0, figures }, 'never'), 0);
  });

  it('belong to nodes: every figure of the one that answers, a few of the others', () => {
    const info = (nodeId, publishes) => ({ nodeId, connections: 1, sessions: 1, rooms: 1, publishes, volatile: 0, deliveries: 0 });
    const figures = (node, publishes) => parse(`hubbub_build_info{node="${node}",version="1"} 1\nhubbub_publishes_total ${publishes}\nx 1\n`);
    assert.equal(nodeOf(figures('n1', 0)), 'n1');
    let nodes = withSamples([], [info('n1', 10), info('n2', 5)], figures('n1', 10), 0);
    nodes = withSamples(nodes, [info('n1', 30), info('n2', 9)], figures('n1', 30), 2_000);
    assert.deepEqual(nodes.map(({ id, whole, samples }) => [id, whole, rate(samples[0], samples[1], 'hubbub_publishes_total')]), [['n1', true, 10], ['n2', false, 2]]);
    nodes = withSamples(nodes, [info('n1', 30), info('n2', 9)], figures('n2', 9), 4_000);
    assert.deepEqual(nodes.map(({ whole, samples }) => [whole, samples.length]), [[false, 1], [true, 1]], 'another node answered');
    for (let at = 6_000; at < 700_000; at += 2_000) nodes = withSamples(nodes, [info('n2', 9)], figures('n2', 9), at);
    assert.deepEqual(nodes.map(({ id, samples }) => [id, samples.length]), [['n2', 150]], 'n1 is no longer in the list');
  });

  it('make rates, summed over labels, and begin anew with the process', () => {
    const before = sample(1_000, 'n{r="a"} 10\nn{r="b"} 1\nnot 5\n');
    const now = sample(3_000, 'n{r="a"} 30\nn{r="b"} 1\nn{r="c"} 4\nnot 500\n');
    assert.equal(rate(before, now, 'n'), 12);
    assert.deepEqual(ratesBy(before, now, 'n', 'r'), [['a', 10], ['c', 2]]);
    assert.equal(rate(now, sample(5_000, 'n{r="a"} 6\n'), 'n'), 3);
    assert.equal(rate(now, now, 'n'), 0);
  });

  it('make quantiles of what came in between', () => {
    const text = (counts) => counts.map((count, at) => `h_bucket{le="${[0.1, 0.2, 0.4, '+Inf'][at]}"} ${count}`).join('\n');
    const before = sample(0, text([100, 100, 100, 100]));
    const now = sample(1_000, text([100, 150, 200, 200]));
    assert.equal(quantile(before, now, 'h', 0.5), 0.2);
    assert.ok(Math.abs(quantile(before, now, 'h', 0.75) - 0.3) < 1e-9);
    assert.equal(quantile(before, sample(1_000, text([100, 100, 100, 110])), 'h', 0.99), 0.4, 'beyond the last bucket');
    assert.equal(quantile(now, now, 'h', 0.5), null, 'nothing was counted');
    assert.equal(quantile(before, now, 'other', 0.5), null);
  });
});

describe('words', () => {
  it('for figures', () => {
    assert.deepEqual([0, 7, 0.1234, 1234.5, 99.96].map(number), ['0', '7', '0.123', '1,235', '100']);
    assert.deepEqual([0, 1023, 1024, 5.5 * 1024 ** 2].map(bytes), ['0 B', '1,023 B', '1 KiB', '5.5 MiB']);
    assert.deepEqual([0.0000512, 0.0123, 2].map(seconds), ['51.2 µs', '12.3 ms', '2 s']);
    assert.deepEqual([0, 59.9, 61, 3600, 90_061].map(duration), ['0 s', '59 s', '1 min 1 s', '1 h', '1 d 1 h']);
    assert.equal(ago('2026-01-01T00:00:00.000Z', Date.parse('2026-01-01T00:02:00.000Z')), '2 min');
    assert.equal(plain('too_slow'), 'too slow');
  });
});
