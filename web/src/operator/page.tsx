import { t } from '../i18n/index.js';
import { Page } from '../parts/page.js';

export default function OperatorPage() {
  return <Page title={t().operator.title}>{null}</Page>;
}
