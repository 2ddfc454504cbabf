fn main(){ let p=hutong::procedure::load(hutong::procedure::embedded::FILES).unwrap(); let a:Vec<String>=std::env::args().collect();
 for t in &a[2..] { let w=p.vocabulary.read(t,&a[1]); println!("{t}: clauses {} unknown {:?}",w.clauses,w.unknown); for h in w.all() { println!("   {:?} {:?} {:?} clause {} aside {} spine {}",h.axis,h.term,h.means,h.clause,h.aside,h.spine_letter);} } }
