DROP FUNCTION analyze_snapshots();
