<?php
/**
 * A stand-in for the one module of CirrusSearch that dual-data asks: prop=cirrusdoc with incoming_links.
 *
 * CirrusSearch itself needs a search cluster. This module computes the same formula from the wiki's own link tables
 * (redirects to the page, and distinct pages that link to it or to one of them), and proves our client, not Wikipedia.
 * For titles that begin with Unindexed or Uncounted, the index lacks the document or the counter: empty lists, as in the API.
 */
use MediaWiki\Api\ApiQueryBase;
use Wikimedia\ParamValidator\ParamValidator;

class ApiQueryCirrusDoc extends ApiQueryBase {
	public function __construct( $query, $name ) {
		parent::__construct( $query, $name, 'cd' );
	}

	public function execute() {
		foreach ( $this->getPageSet()->getGoodPages() as $id => $page ) {
			$titles = [ $page->getDBkey() ];
			if ( str_starts_with( $titles[0], 'Unindexed' ) || str_starts_with( $titles[0], 'Uncounted' ) ) {
				$documents = $titles[0][2] === 'i' ? [] : [ [ 'index' => 'content', 'id' => (string)$id, 'source' => [] ] ];
				$this->getResult()->addValue( [ 'query', 'pages', $id ], 'cirrusdoc', $documents );
				continue;
			}
			$redirects = $this->getDB()->newSelectQueryBuilder()
				->select( 'page_title' )->from( 'redirect' )->join( 'page', null, 'rd_from = page_id' )
				->where( [ 'rd_namespace' => 0, 'rd_title' => $page->getDBkey() ] )
				->caller( __METHOD__ )->fetchFieldValues();
			$sources = $this->getDB()->newSelectQueryBuilder()
				->select( 'pl_from' )->distinct()->from( 'pagelinks' )->join( 'linktarget', null, 'pl_target_id = lt_id' )
				->join( 'page', null, 'pl_from = page_id' )
				->where( [ 'lt_namespace' => 0, 'lt_title' => array_merge( $titles, $redirects ), 'page_is_redirect' => 0 ] )
				->caller( __METHOD__ )->fetchFieldValues();
			$source = [ 'incoming_links' => count( $redirects ) + count( $sources ) ];
			$this->addPageSubItems( $id, [ [ 'index' => 'content', 'id' => (string)$id, 'source' => $source ] ], 'doc' );
		}
	}

	public function getAllowedParams() {
		return [ 'includes' => [ ParamValidator::PARAM_TYPE => 'string', ParamValidator::PARAM_ISMULTI => true ] ];
	}
}
