import { locale, t } from '../i18n/index.js';
import { isNarrow } from '../narrow.js';
import { Segments } from '../parts/field.js';
import { type Column, type Kind, ceiling, columnsOf, kinds } from './chart.js';
import { hours, refresh, throughput } from './watch.js';

const height = 260;
const left = 44;
const bottom = 28;
const top = 12;
const ranges = [1, 6, 24] as const;

/** How many tasks ended, over time: as a picture, and as a table. */
export function ThroughputChart() {
  const { operator } = t();
  const columns = columnsOf(throughput.value ?? [], isNarrow.value ? 30 : 60);
  const total = (kind: Kind) => columns.reduce((sum, column) => sum + column[kind], 0);
  return (
    <section class="panel stack" aria-labelledby="operator-throughput">
      <div class="operator-head">
        <h2 id="operator-throughput">{operator.throughput}</h2>
        <Segments
          label={operator.range}
          isLabelHidden
          options={ranges.map((one) => ({ value: String(one), label: operator.hours(one) }))}
          value={String(hours.value)}
          onChoose={(value) => {
            hours.value = Number(value) as (typeof ranges)[number];
            refresh();
          }}
        />
      </div>
      <ul class="operator-legend" aria-hidden="true">
        {kinds.map((kind) => (
          <li key={kind}>
            <svg viewBox="0 0 12 12" class={`operator-bar is-${kind}`}>
              <rect width="12" height="12" rx="3" />
            </svg>
            {operator.kindsOfEnd[kind]}
          </li>
        ))}
      </ul>
      <Bars
        columns={columns}
        label={operator.chartLabel(
          hours.value,
          total('completed'),
          total('failed'),
          total('cancelled'),
        )}
      />
      <details>
        <summary class="operator-summary">{operator.asTable}</summary>
        <Table columns={columns} />
      </details>
    </section>
  );
}

function Bars({ columns, label }: { columns: readonly Column[]; label: string }) {
  const width = isNarrow.value ? 400 : 960;
  const sums = columns.map((column) => column.completed + column.failed + column.cancelled);
  const most = ceiling(Math.max(0, ...sums));
  const slot = (width - left) / Math.max(1, columns.length);
  const y = (value: number) => top + (height - top - bottom) * (1 - value / most);
  const every = Math.ceil(columns.length / (isNarrow.value ? 4 : 6));
  return (
    <svg class="operator-chart" viewBox={`0 0 ${width} ${height}`} role="img" aria-label={label}>
      {[0, 0.25, 0.5, 0.75, 1].map((part) => (
        <g key={part}>
          <line
            class="operator-grid"
            x1={left}
            x2={width}
            y1={y(part * most)}
            y2={y(part * most)}
          />
          <text x={left - 8} y={y(part * most) + 4} text-anchor="end">
            {part * most}
          </text>
        </g>
      ))}
      {columns.map((column, i) => {
        let below = 0;
        return (
          <g key={column.at}>
            {kinds.map((kind) => {
              const value = column[kind];
              const from = below;
              below += value;
              return value === 0 ? null : (
                <rect
                  key={kind}
                  class={`operator-bar is-${kind}`}
                  x={left + slot * i + slot * 0.12}
                  width={slot * 0.76}
                  y={y(from + value)}
                  height={y(from) - y(from + value)}
                  rx={Math.min(3, slot / 4)}
                />
              );
            })}
            {i % every === 0 && (
              <text x={left + slot * (i + 0.5)} y={height - 8} text-anchor="middle">
                {hourOf(column.at)}
              </text>
            )}
          </g>
        );
      })}
    </svg>
  );
}

function Table({ columns }: { columns: readonly Column[] }) {
  const { operator } = t();
  const seen = columns.filter((column) => kinds.some((kind) => column[kind] > 0)).reverse();
  if (seen.length === 0) return <p class="quiet">{operator.nothingEnded}</p>;
  return (
    <div class="operator-table" tabIndex={0} role="group" aria-label={operator.throughput}>
      <table>
        <thead>
          <tr>
            <th scope="col">{operator.from}</th>
            {kinds.map((kind) => (
              <th key={kind} scope="col">
                {operator.kindsOfEnd[kind]}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {seen.map((column) => (
            <tr key={column.at}>
              <th scope="row">{hourOf(column.at)}</th>
              {kinds.map((kind) => (
                <td key={kind}>{column[kind]}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function hourOf(at: number): string {
  return new Date(at).toLocaleTimeString(locale.value, {
    hour: '2-digit',
    minute: '2-digit',
    hour12: false,
  });
}
