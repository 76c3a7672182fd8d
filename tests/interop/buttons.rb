# frozen_string_literal: true

# Every other button of Sidekiq Web, on the jobs and processes of Rust: those of the pages of single
# jobs, those for all jobs of a page, several jobs at once; and what else the pages show about Rust.
# (web.rb has the first.)

require_relative "browser"

web = Browser.new
shown = { "VERK_TAG" => "billing", "VERK_SIDEKIQ_6_WORK" => "true", "VERK_SHUTDOWN_TIMEOUT" => "1000ms" }

# The page of one job of a set.
page_of = ->(place, entry) { "/#{place}/#{entry.score}-#{entry.jid}" }

# Jobs that failed in Rust, and wait in the retry set.
fail_in = lambda do |rust, *cents|
  jids = cents.map { |n| Payments::Charge.perform_async(n, 99) }
  jids.each { |jid| rust.wait_for(jid) }
  wait_until("the retries") { jids.all? { |jid| retries.find_job(jid) } }
  jids
end

# Jobs that died in Rust.
die_in = lambda do |rust, *cents|
  jids = cents.map { |n| Payments::Charge.set(retry: 0).perform_async(n, 99) }
  jids.each { |jid| rust.wait_for(jid) }
  wait_until("the deaths") { jids.all? { |jid| dead.find_job(jid) } }
  jids
end

# What Rust schedules is due within seconds: no program moves it yet.
later = Array.new(2) { rust_client["later"].first }
later.each { |jid| find(scheduled, jid).reschedule(Time.now + 3600) }
Sidekiq::Queue.all.each(&:clear)

with_rust("default:5,mailers:5", shown) do |rust|
  check "Retries: several ticked at once, 'retry now' makes Rust run those and no other" do
    jids = fail_in.call(rust, 3000, 3001, 3002)
    web.press("/retries", "retry", *jids.first(2))
    jids.first(2).each { |jid| rust.wait_for(jid, nth: 2) }
    wait_until("both retries") { retries.size == 3 }
    assert_equal [2, 2, 1], jids.map { |jid| rust.runs_of(jid).size }, "runs"
  end

  check "Retries: 'retry all' makes Rust run all of them" do
    jids = retries.map(&:jid)
    web.press_all("/retries", "retry")
    jids.each { |jid| wait_until("another run of #{jid}") { rust.runs_of(jid).size >= 2 } }
    wait_until("all to be in the retry set again") { retries.map(&:jid).sort == jids.sort }
  end

  check "Retries: 'delete all' removes all of them" do
    web.press_all("/retries", "delete")
    assert_equal [0, 0], [retries.size, dead.size], "retries, dead"
  end

  check "the page of a retry: its error, its arguments; 'retry now' makes Rust run it, 'delete' removes it" do
    jids = fail_in.call(rust, 3100, 3101)
    first, second = jids.map { |jid| find(retries, jid) }
    page = web.get(page_of.call("retries", first))
    ["Payments::Charge", "ChargeError", "could not charge 3100 cents", "3100", jids[0], "caused by: the bank is closed"].each do |text|
      assert page.include?(text), "#{text} is not on the page"
    end
    web.press(page_of.call("retries", first), "retry", jids[0])
    rust.wait_for(jids[0], nth: 2)
    web.press(page_of.call("retries", second), "delete", jids[1])
    assert_equal nil, retries.find_job(jids[1]), "in Retries"
    assert_equal nil, dead.find_job(jids[1]), "in Dead"
    wait_until("the second failure") { retries.find_job(jids[0]) }
    retries.clear
  end

  check "the page of a dead job: its error; 'retry now' makes Rust run it, 'delete' removes it" do
    jids = die_in.call(rust, 3200, 3201)
    first, second = jids.map { |jid| find(dead, jid) }
    page = web.get(page_of.call("morgue", first))
    ["Payments::Charge", "ChargeError", "could not charge 3200 cents", "caused by: the bank is closed"].each do |text|
      assert page.include?(text), "#{text} is not on the page"
    end
    web.press(page_of.call("morgue", first), "retry", jids[0])
    rust.wait_for(jids[0], nth: 2)
    web.press(page_of.call("morgue", second), "delete", jids[1])
    wait_until("the second death") { dead.map(&:jid) == jids.first(1) }
    dead.clear
  end

  check "Dead: 'retry all' makes Rust run all of them" do
    jids = die_in.call(rust, 3300, 3301, 3302)
    web.press_all("/morgue", "retry")
    jids.each { |jid| rust.wait_for(jid, nth: 2) }
    wait_until("the second deaths") { dead.size == 3 }
    dead.clear
  end

  check "the page of a job that Rust scheduled: 'add to queue' makes Rust run it, 'delete' removes it" do
    jids = later
    first, second = jids.map { |jid| find(scheduled, jid) }
    page = web.get(page_of.call("scheduled", first))
    ["Mailers::Welcome", "later@example.com", jids[0]].each { |text| assert page.include?(text), "#{text} is not on the page" }
    web.press(page_of.call("scheduled", first), "add_to_queue", jids[0])
    rust.wait_for(jids[0])
    web.press(page_of.call("scheduled", second), "delete", jids[1])
    assert_equal 0, scheduled.size, "left"
    wait_until_idle
    assert_equal [], rust.runs_of(jids[1]), "runs of what was deleted"
  end

  check "the pages of a job that is gone lead back to the list" do
    %w[/retries /scheduled /morgue].each { |path| assert_equal path, web.redirect("#{path}/1732387200.5-gone"), "where #{path} leads" }
  end

  check "ActiveJob's envelope that failed in Rust is shown by the class in it" do
    job_data = { "job_class" => "Payments::ChargeJob", "job_id" => "f3c1a0e4", "queue_name" => "default", "arguments" => [3400, 9] }
    jid = Sidekiq::Client.push("class" => "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper", "wrapped" => "Payments::ChargeJob",
                               "queue" => "default", "args" => [job_data])
    rust.wait_for(jid)
    entry = wait_until("the retry") { retries.find_job(jid) }
    ["/retries", page_of.call("retries", entry)].each do |path|
      page = web.get(path)
      assert page.include?("Payments::ChargeJob"), "the class is not on #{path}"
      assert page.include?("3400, 9"), "the arguments are not on #{path}"
    end
    retries.clear
  end

  # Elixir's Verk would have written it.
  of_verk = { "error_message" => nil, "failed_at" => nil, "retry_count" => 0, "queue" => "default", "class" => "Payments::Charge",
              "args" => "[3500,9]", "jid" => "15778414201170464", "finished_at" => nil, "enqueued_at" => 1_732_387_200,
              "retried_at" => nil, "created_at" => nil, "error_backtrace" => nil, "max_retry_count" => 25 }

  check "Retries answers with a job of Elixir's Verk that failed in Rust, and can delete it" do
    redis { |r| r.lpush("queue:default", JSON.generate(of_verk)) }
    rust.wait_for(of_verk["jid"])
    wait_until("the retry") { retries.find_job(of_verk["jid"]) }
    assert web.get("/retries").include?("could not charge 3500 cents"), "not on the page"
    web.press("/retries", "delete", of_verk["jid"])
    assert_equal 0, retries.size, "left"
  end

  check "the dashboard draws what Rust ran by day, and counts what waits" do
    jid = Mailers::Welcome.perform_in(3600, "later@example.com")
    fail_in.call(rust, 3600)
    die_in.call(rust, 3700)
    wait_until("the statistics") { Sidekiq::Stats.new.then { |stats| stats.failed >= 2 && stats.processed > stats.failed } }
    # In the form of each version: each day and its number, first the processed jobs, then the
    # failed.
    drawn = CGI.unescapeHTML(web.get("/?days=2")).scan(/"\d{4}-\d\d-\d\d"[:,]\s*(\d+)/).flatten.map(&:to_i)
    assert_equal 4, drawn.size, "two days, twice"
    processed, failed = drawn.each_slice(2).map(&:sum)
    stats = Sidekiq::Stats.new
    assert processed > failed && failed >= 2, "drawn: #{processed} processed, #{failed} failed"
    assert processed <= stats.processed && failed <= stats.failed, "more than in all"
    assert_equal [1, 1, 1], web.json("/stats")["sidekiq"].values_at("scheduled", "retries", "dead"), "what waits"
    scheduled.find_job(jid).delete
    [retries, dead].each(&:clear)
  end

  check "a queue that is paused, as Sidekiq Pro does it, is paused in Rust; Queues lists what waits, page by page" do
    redis { |r| r.sadd("paused", "mailers") }
    # A job that is on its way to a waiting fetch may still run.
    wait_until("the pause") do
      jid = Mailers::Welcome.perform_async("paused@example.com")
      sleep 0.2 # a fetch would take it within a round trip
      Sidekiq::Queue.new("mailers").find_job(jid)
    end
    30.times { |n| Mailers::Welcome.perform_async("paused-#{n}@example.com") }
    size = Sidekiq::Queue.new("mailers").size
    assert_equal({ "mailers" => size }, web.json("/stats/queues").slice("mailers"), "lengths")
    assert web.get("/queues/mailers?page=2").include?("paused@example.com"), "the second page has not the oldest"
    assert web.get("/queues/mailers?direction=asc").include?("paused@example.com"), "the other way round, the first has not"
    assert_between 0..DEADLINE, Sidekiq::Queue.new("mailers").latency, "latency"
    redis { |r| r.srem("paused", "mailers") }
    wait_until_idle
  end

  check "Process#dump_threads makes the Rust worker log what it runs" do
    jid = Reports::Build.perform_async(3600)
    rust.wait_for(jid)
    Sidekiq::ProcessSet.new.find { |process| process.tag == "billing" }.dump_threads
    wait_until("the list of jobs in the log") { rust.log.match?(/runs .*#{jid}/) }
  end
end
flush

check "Busy: 'Quiet all' makes Ruby's processes and Rust's quiet, and none ends" do
  with_rust("default:5", shown) do |rust|
    with_sidekiq(%w[mailers]) do |ruby|
      wait_until("both") { Sidekiq::ProcessSet.new.to_a.size == 2 }
      web.press("/busy", "quiet", "stop")
      wait_until("both to be quiet") { Sidekiq::ProcessSet.new.all?(&:stopping?) }
      assert_equal 2, web.get("/busy").scan(">quiet<").size, "quiet on the page"
      assert [rust, ruby].all?(&:alive?), "one has ended"
    end
  end
end

check "a job of Elixir's Verk that failed has no page of its own in Sidekiq Web, as the guide says" do
  failed = { "class" => "Payments::Charge", "args" => "[1,1]", "jid" => "1", "queue" => "default", "failed_at" => 1_732_387_200,
             "retry_count" => 1, "retried_at" => 1_732_387_200, "error_message" => "no", "error_backtrace" => "  lib/a.ex:7: A.perform/1\n" }
  redis { |r| r.zadd("retry", (Time.now + 3600).to_f, JSON.generate(failed)) }
  assert web.get("/retries").include?("Payments::Charge"), "not listed"
  assert_raises(Zlib::Error) { web.get(page_of.call("retries", retries.first)) }
end
